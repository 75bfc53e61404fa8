/** A classifier for two classes of views, and what it may look at. */
import { bitLength } from '@duoveil/common/integers';

/** What a classifier looks at: as many numbers of every view. */
export type Look<Seen> = (seen: Seen) => readonly number[];

/**
 * The share of views that nearest centroids put right: learned on one half of each, in units of each
 * coordinate's deviation, tried on the other; and the other way round.
 */
export function accuracy<Seen>(
  left: readonly Seen[],
  right: readonly Seen[],
  look: Look<Seen>,
): number {
  const halves = [left, right].map((views) => {
    const rows = views.map(look);
    const half = Math.floor(rows.length / 2);
    return [rows.slice(0, half), rows.slice(half)] as const;
  });
  const folds = [0, 1].map((fold) =>
    hits(
      halves.map((parts) => parts[fold] ?? []),
      halves.map((parts) => parts[1 - fold] ?? []),
    ),
  );
  return folds.reduce((sum, count) => sum + count, 0) / (left.length + right.length);
}

type Rows = readonly (readonly number[])[];

/** How many of the second two classes are put right by what was learned of the first two. */
function hits(learned: readonly Rows[], tried: readonly Rows[]): number {
  const all = learned.flat();
  const width = all[0]?.length ?? 0;
  const mean = (rows: Rows, j: number) =>
    rows.reduce((sum, row) => sum + (row[j] ?? 0), 0) / rows.length;
  const deviations = Array.from({ length: width }, (_, j) => {
    const centre = mean(all, j);
    const squares = all.map((row) => [((row[j] ?? 0) - centre) ** 2]);
    return Math.sqrt(mean(squares, 0)) || 1;
  });
  const centroids = learned.map((rows) => deviations.map((_, j) => mean(rows, j)));
  const distance = (row: readonly number[], centroid: readonly number[] = []) =>
    row.reduce((sum, x, j) => sum + ((x - (centroid[j] ?? 0)) / (deviations[j] ?? 1)) ** 2, 0);
  const isLeft = (row: readonly number[]) =>
    distance(row, centroids[0]) < distance(row, centroids[1]);
  const [left = [], right = []] = tried;
  return left.filter(isLeft).length + right.filter((row) => !isLeft(row)).length;
}

/** Five standard deviations of what guessing scores on so many views of both classes together. */
export function marginOf(views: number): number {
  return 2.5 / Math.sqrt(views);
}

/** Size, length in bits and lowest byte of each of several values. */
export function shapesOf(values: readonly bigint[]): number[] {
  return values.flatMap((value) => [Number(value), bitLength(value), Number(value % 256n)]);
}

/** How often each byte comes, and how many there are. */
export function histogramOf(bytes: Uint8Array): number[] {
  const counts = new Array<number>(256).fill(0);
  for (const byte of bytes) counts[byte] = (counts[byte] ?? 0) + 1;
  return [...counts, bytes.length];
}
