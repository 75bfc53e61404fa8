/** Pauses between attempts to connect, in milliseconds: doubling up to the greatest. */
const FIRST_MS = 1_000;
const GREATEST_MS = 15_000;

/**
 * How long to wait before an attempt.
 * @param failures attempts that have failed in a row, from 1
 * @param random from 0 to 1: spreads the pages that a restarted server lost all at once
 */
export function pauseMs(failures: number, random: number): number {
  const full = Math.min(GREATEST_MS, FIRST_MS * 2 ** (failures - 1));
  return full * (0.5 + random / 2);
}
