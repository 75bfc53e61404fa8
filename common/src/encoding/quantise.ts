/** From a reading to an integer, exactly. Design: protocols, section 2. */
import { align, parseDecimal } from './decimal.js';
import { roundHalfUp } from '../integers.js';
import { scaleOf } from './scale.js';
import type { Channel, Schema } from './schema.js';

/** A reading as a source gives it: text, a number, or nothing. */
export type Cell = string | number | null | undefined;

/** A quantised reading, or why there is none. The reason never tells the value. */
export type Quantised =
  { readonly ok: true; readonly q: bigint } | { readonly ok: false; readonly reason: string };

/** A row with all its channels, quantised and in the schema's order; or why it is skipped. */
export type QuantisedRow = { readonly complete: readonly bigint[] } | { readonly skipped: string };

/** How sources write "no value", apart from leaving the cell empty. */
const MISSING = /^(nan|null)?$/i;

/**
 * Quantise a reading: `q = floor((v - min)/resolution + 1/2)` in exact decimal arithmetic.
 * @param value in the channel's unit; a double stands for its shortest decimal representation
 * @returns `q` in `[0, D]`; or the reason there is none: `missing` (nothing, blank, NaN, null),
 *   `not a number`, `out of range [min, max]`
 */
export function quantise(channel: Channel, value: Cell): Quantised {
  if (value === undefined || value === null || MISSING.test(String(value).trim())) {
    return { ok: false, reason: 'missing' };
  }
  const reading = parseDecimal(value);
  if (reading === undefined) return { ok: false, reason: 'not a number' };

  const scale = scaleOf(channel);
  const {
    units: [v = 0n, min = 0n, max = 0n, resolution = 0n],
  } = align(reading, scale.min, scale.max, scale.resolution);
  if (v < min || v > max) {
    return { ok: false, reason: `out of range [${channel.min}, ${channel.max}]` };
  }
  return { ok: true, q: roundHalfUp(v - min, resolution) };
}

/**
 * Quantise a row. It is complete when every channel of the schema has a valid reading.
 * @param cells readings by channel name; others are ignored
 * @returns one integer a channel in the schema's order; or what is wrong with which channels, such
 *   as `RESP is missing` or `HR is not a number; SpO2 is missing`
 */
export function quantiseRow(
  schema: Schema,
  cells: Readonly<Partial<Record<string, Cell>>>,
): QuantisedRow {
  const complete: bigint[] = [];
  const problems: string[] = [];
  for (const channel of schema.channels) {
    // A channel may be called `constructor`: only what the row itself has counts.
    const cell = Object.hasOwn(cells, channel.name) ? cells[channel.name] : undefined;
    const result = quantise(channel, cell);
    if (result.ok) complete.push(result.q);
    else problems.push(`${channel.name} is ${result.reason}`);
  }
  return problems.length === 0 ? { complete } : { skipped: problems.join('; ') };
}
