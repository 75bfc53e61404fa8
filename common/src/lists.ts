/** Lists whose lengths are known to the code that uses them. */

/**
 * The element at an index.
 * @throws RangeError where there is none: a defect of the caller
 */
export function elementAt<T>(list: readonly T[], index: number): T {
  const element = list[index];
  if (element === undefined)
    throw new RangeError(`no element ${index} in a list of ${list.length}`);
  return element;
}

/**
 * Two lists, element by element.
 * @throws RangeError where their lengths differ
 */
export function zip<T, U>(left: readonly T[], right: readonly U[]): (readonly [T, U])[] {
  if (left.length !== right.length) throw new RangeError('lists differ in length');
  return left.map((item, i) => [item, right[i] as U] as const);
}

/** A list in parts of at most `size`. */
export function inParts<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) =>
    list.slice(i * size, (i + 1) * size),
  );
}

/** A list of even length, two by two. */
export function inPairs<T>(list: readonly T[]): (readonly [T, T])[] {
  return inParts(list, 2).map((pair) => [elementAt(pair, 0), elementAt(pair, 1)] as const);
}

/** Rows as columns. */
export function transpose<T>(rows: readonly (readonly T[])[]): T[][] {
  return (rows[0] ?? []).map((_, j) => rows.map((row) => elementAt(row, j)));
}
