/** Moments as sources write them. */

/** The end of the year 9999. */
const LATEST = 253_402_300_799_999;

/** Anything less, as milliseconds, would be before 1974: most likely seconds were meant. */
const EARLIEST_NUMBER = 1.3e11;

const FORM = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;

/** What a moment must look like, for messages. */
export const MOMENT_FORM =
  'must be a date and time with a time zone, as 2026-05-04T10:44:18.5Z, or milliseconds since 1970';

/**
 * A moment in milliseconds since 1970 UTC, rounded down; undefined for what is none. A text without a
 * time of day or without a time zone is none, and neither are seconds.
 */
export function parseMoment(value: unknown): number | undefined {
  if (typeof value === 'number') {
    const inRange = value >= EARLIEST_NUMBER && value <= LATEST;
    return inRange ? Math.floor(value) : undefined;
  }
  if (typeof value !== 'string' || !FORM.test(value)) return undefined;
  const moment = Date.parse(value.replace(' ', 'T'));
  return moment >= 0 && moment <= LATEST ? moment : undefined;
}
