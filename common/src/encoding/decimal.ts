/**
 * Exact decimal numbers: what a monitor, a file or a schema states, without a detour over binary.
 *
 * In doubles, (0.3 - 0) / 0.1 is 2.9999999999999996: whether 94.05 quantises up or down would depend
 * on such an error. Here every number is an integer over a power of ten.
 */

/** The number `units / 10^scale`. `scale` is an integer >= 0; a number may have several forms. */
export interface Decimal {
  readonly units: bigint;
  readonly scale: number;
}

/**
 * Longest number accepted, in digits, and largest exponent. Beyond every double (10^-324 to 10^308),
 * and small enough that a hostile `1e999999999` costs nothing.
 */
const LIMIT = 400;

const FORM = /^([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d+))?$/;

/**
 * Read a decimal number.
 * @param input text such as `94`, `-0.5`, `.5`, `+1.2e-3`, surrounding white space ignored; or a
 *   double, which stands for its shortest decimal representation (0.1 is one tenth)
 * @returns the exact number; `undefined` where the input is not one, is not finite, or is longer
 *   than 400 digits or 400 decimal places
 */
export function parseDecimal(input: string | number): Decimal | undefined {
  const match = FORM.exec(typeof input === 'number' ? String(input) : input.trim());
  if (match === null) return undefined;
  const [, sign, mantissa = '', exponent = '0'] = match;
  const [whole = '', fraction = ''] = mantissa.split('.');
  const shift = Number(exponent);
  if (whole.length + fraction.length > LIMIT || Math.abs(shift) > LIMIT) return undefined;

  const digits = BigInt(whole + fraction);
  const units = sign === '-' ? -digits : digits;
  const scale = fraction.length - shift;
  return scale >= 0 ? { units, scale } : { units: units * 10n ** BigInt(-scale), scale: 0 };
}

/** The units of a number at a finer scale, `scale >= value.scale`. Exact. */
export function unitsAt(value: Decimal, scale: number): bigint {
  return value.units * 10n ** BigInt(scale - value.scale);
}

/** Write several numbers over one power of ten: their units, in order, and the common scale. */
export function align(...values: readonly Decimal[]): { units: bigint[]; scale: number } {
  const scale = Math.max(0, ...values.map((value) => value.scale));
  return { units: values.map((value) => unitsAt(value, scale)), scale };
}

/** Which is greater: negative for `a < b`, 0 for equal numbers, positive for `a > b`. */
export function compareDecimals(a: Decimal, b: Decimal): -1 | 0 | 1 {
  const scale = Math.max(a.scale, b.scale);
  const [left, right] = [unitsAt(a, scale), unitsAt(b, scale)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/**
 * The one canonical text of a number: no exponent, no needless zero, sign only where negative. Equal
 * numbers have equal texts, so that equal schemas have equal encodings.
 */
export function formatDecimal({ units, scale }: Decimal): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, '0');
  const whole = digits.slice(0, digits.length - scale);
  const fraction = digits.slice(digits.length - scale).replace(/0+$/, '');
  return `${units < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}
