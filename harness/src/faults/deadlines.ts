/**
 * How long each thing in the simulation may take, in milliseconds: far beyond what it takes on a
 * loaded machine. Everything has an end, and what does not come to it is named.
 */
export const DEADLINE_MS = {
  /** To bring servers and databases up, one step of it. */
  start: 180_000,
  /** One operation on a server. */
  operation: 90_000,
  /** One list, from enrolment to its last decision. */
  list: 300_000,
  /** To bring one part down, or to read what it kept. */
  stop: 90_000,
} as const;
