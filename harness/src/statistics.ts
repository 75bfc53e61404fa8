/**
 * Is what a party opened uniform, and are its parts independent? Pearson's chi-square tests over equal
 * buckets: K. Pearson, Phil. Mag. 50, 1900; D. E. Knuth, *The Art of Computer Programming*, vol. 2,
 * section 3.3.1 (chi-square), 3.3.2 (serial test). With a fixed seed a test that uses them is
 * deterministic; the significance says how seldom another seed would raise a false alarm.
 */
import { chiSquareQuantile } from '@duoveil/common/encoding';

/** Buckets of one value, and of a pair: 4 by 4. */
const BUCKETS = 16;
const SIDE = 4n;

/** Below this expectation of a bucket, the statistic is not distributed as it should be. */
const LEAST_EXPECTATION = 20;

/** Pearson's statistic of counts that should all be the same. */
export function chiSquare(counts: readonly number[]): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const expected = total / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

interface Statistic {
  readonly name: string;
  readonly buckets: readonly number[];
}

/**
 * What makes a series of calls look other than uniform and independent modulo `modulus`; nothing, where
 * nothing does. Looks at each column's top and low bits, at each pair of columns, and at each column's
 * successive values: their differences, their sums, and their joint distribution; and for repetitions.
 * @param calls what was opened: a list a call, all of one length
 * @param significance the chance of a false alarm, over all of these tests together
 */
export function suspicions(
  calls: readonly (readonly bigint[])[],
  modulus: bigint,
  significance: number,
): string[] {
  if (calls.length < LEAST_EXPECTATION * BUCKETS) throw new RangeError('too few calls');
  const width = calls[0]?.length ?? 0;
  const columns = Array.from({ length: width }, (_, j) => calls.map((call) => call[j] ?? 0n));
  const statistics = columns.flatMap((column, j) => [
    ...ofOne(`column ${j}`, column, modulus),
    ...ofTwo(`calls, column ${j}`, column.slice(0, -1), column.slice(1), modulus),
    ...columns
      .slice(j + 1)
      .flatMap((other, k) => ofTwo(`columns ${j}, ${j + 1 + k}`, column, other, modulus)),
  ]);
  const critical = chiSquareQuantile(1 - significance / statistics.length, BUCKETS - 1);
  const found = statistics
    .filter(({ buckets }) => chiSquare(counted(buckets)) > critical)
    .map(({ name }) => name);
  const values = calls.flat();
  // The chance of an honest repetition modulo N is below 2^-480.
  if (new Set(values).size < values.length) found.push('repetition');
  return found;
}

function ofOne(name: string, values: readonly bigint[], modulus: bigint): Statistic[] {
  return [
    { name: `${name}: top bits`, buckets: values.map((value) => top(value, modulus)) },
    { name: `${name}: low bits`, buckets: values.map((value) => Number(value % BigInt(BUCKETS))) },
  ];
}

function ofTwo(
  name: string,
  left: readonly bigint[],
  right: readonly bigint[],
  modulus: bigint,
): Statistic[] {
  const both = <T>(combine: (x: bigint, y: bigint) => T) =>
    left.map((x, i) => combine(x, right[i] ?? 0n));
  return [
    {
      name: `${name}: difference`,
      buckets: both((x, y) => top((x - y + modulus) % modulus, modulus)),
    },
    { name: `${name}: sum`, buckets: both((x, y) => top((x + y) % modulus, modulus)) },
    {
      name: `${name}: jointly`,
      buckets: both((x, y) => Number(((x * SIDE) / modulus) * SIDE + (y * SIDE) / modulus)),
    },
  ];
}

/** Which of equal buckets a value in `[0, modulus)` falls in, by its size. */
function top(value: bigint, modulus: bigint): number {
  return Number((value * BigInt(BUCKETS)) / modulus);
}

function counted(buckets: readonly number[]): number[] {
  const counts = Array<number>(BUCKETS).fill(0);
  for (const bucket of buckets) counts[bucket] = (counts[bucket] ?? 0) + 1;
  return counts;
}
