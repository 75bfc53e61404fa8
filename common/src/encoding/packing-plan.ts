/**
 * The packing plan: how samples' features are laid out in ciphertexts, in which field the packed
 * protocols work, and how much room every masked value needs. It follows from schema, window and
 * |N| alone, so that all parties have the same one. Design: protocols, section 4.
 *
 * Features of a sample `x` of `p` channels: all `x_j`, then all `x_j·x_k` with `j ≤ k`;
 * `t = p + p(p+1)/2` of them.
 */
import { duoveilError } from '../errors.js';
import { smallestField, type PrimeField } from '../field/primes.js';
import { bitLength } from '../integers.js';
import { determinantBound, numeratorBound } from './bounds.js';
import type { MonitoringPolicy } from './policy.js';
import { scaleOf } from './scale.js';
import type { Schema } from './schema.js';
import { THRESHOLD_SCALE } from './threshold.js';

/** κ: what is hidden statistically is hidden but for a chance of `2^-κ` a value. */
export const STATISTICAL_BITS = 64;

/** Which channels are multiplied: `[j]` for `x_j`, `[j, k]` for `x_j·x_k`. */
export type Feature = readonly [j: number] | readonly [j: number, k: number];

/** Values side by side in one plaintext. */
export interface SlotLayout {
  /** Bits of a slot. */
  readonly bits: number;
  /** Slots that one plaintext holds. */
  readonly perPlaintext: number;
}

/** Where the cross term of scoring rides. */
export interface CrossTermPlace {
  /** Which of a sample's plaintexts; the number of feature plaintexts where it has one of its own. */
  readonly plaintext: number;
  /** Its lowest bit. */
  readonly shift: number;
}

/** What level output adds: the comparison of `v_T` with 0 for each threshold. */
export interface LevelPlan {
  /** `T_s` of each threshold, ascending. */
  readonly thresholds: readonly bigint[];
  /** `ℓ`: `|v_T| < 2^ℓ` for every threshold. */
  readonly width: number;
}

/** See the head of this file. */
export interface PackingPlan {
  /** Channels. */
  readonly p: number;
  /** Samples that make a baseline. */
  readonly window: number;
  readonly features: readonly Feature[];
  readonly field: PrimeField;
  /** Slots of features and of their sums over the window, `w` bits each. */
  readonly featureSlots: SlotLayout;
  /** How many plaintexts a sample has. */
  readonly plaintexts: number;
  /** Slots of `M = RQ` in training. */
  readonly matrixSlots: SlotLayout;
  /** Slots of `θ̂` in training. */
  readonly coefficientSlots: SlotLayout;
  readonly crossTerm: CrossTermPlace;
  /** Bits by which a value of `M` may exceed `P`: the quotient of a division by `P`. */
  readonly matrixQuotientBits: number;
  /** The same for `θ̂`. */
  readonly coefficientQuotientBits: number;
  /** The same for the cross term. */
  readonly crossTermQuotientBits: number;
  /** `⟨τ, φ̂⟩ < 2^answerBits`: bits of what the CSP computes for the service provider. */
  readonly answerBits: number;
  /** For level output; undefined for distance output. */
  readonly level: LevelPlan | undefined;
}

/** The features of `p` channels, in their order. */
export function featuresOf(p: number): Feature[] {
  const channels = Array.from({ length: p }, (_, j) => j);
  return [
    ...channels.map((j): Feature => [j]),
    ...channels.flatMap((j) => channels.slice(j).map((k): Feature => [j, k])),
  ];
}

/** `φ(x)`. */
export function featureValues(features: readonly Feature[], sample: readonly bigint[]): bigint[] {
  return features.map(([j, k]) => (sample[j] ?? 0n) * (k === undefined ? 1n : (sample[k] ?? 0n)));
}

/**
 * The plan.
 * @param thresholds `T_s` of each, ascending: for level output; left out for distance output
 * @throws DuoveilError `BOUNDS_EXCEEDED` where it does not fit, with the smallest |N| that would
 */
export function packingPlan(
  schema: Schema,
  window: number,
  modulusBits: number,
  thresholds?: readonly bigint[],
): PackingPlan {
  const level = thresholds && { thresholds, width: levelWidth(schema, window, thresholds) };
  const field = smallestField(
    level === undefined
      ? 2n * numeratorBound(schema, window) * determinantBound(schema, window)
      : 1n << BigInt(level.width + 1 + STATISTICAL_BITS),
  );
  const plan = planIn(schema, window, modulusBits, field);
  if (plan !== undefined) return { ...plan, level };
  throw doesNotFit(schema, window, modulusBits, sufficientBits(schema, window, field));
}

/** The plan of an enrolment. */
export function packingPlanOf(
  schema: Schema,
  policy: Pick<
    MonitoringPolicy,
    'window' | 'output' | 'thresholdScaled' | 'higherThresholdsScaled'
  >,
  modulusBits: number,
): PackingPlan {
  return packingPlan(schema, policy.window, modulusBits, levelThresholds(policy));
}

/** The thresholds of level output, ascending; undefined for distance output. */
export function levelThresholds({
  output,
  thresholdScaled,
  higherThresholdsScaled,
}: Pick<MonitoringPolicy, 'output' | 'thresholdScaled' | 'higherThresholdsScaled'>):
  bigint[] | undefined {
  return output === 'level' ? [thresholdScaled, ...higherThresholdsScaled] : undefined;
}

/**
 * `ℓ`: bits of the largest `|v_T|`, where `v_T = 2^16·n(n-1)·num - (2^16(n-1) + n·T_s)·det` is
 * positive exactly where `MD² > T_s/2^16`.
 */
function levelWidth(schema: Schema, window: number, thresholds: readonly bigint[]): number {
  const extremes = thresholds.flatMap((threshold) => {
    const { numerator, determinant } = levelFactors(window, threshold);
    return [
      bitLength(numerator * numeratorBound(schema, window)),
      bitLength(determinant * determinantBound(schema, window)),
    ];
  });
  return Math.max(...extremes);
}

/** `v_T = numerator·num - determinant·det`. */
export function levelFactors(
  window: number,
  thresholdScaled: bigint,
): { readonly numerator: bigint; readonly determinant: bigint } {
  const n = BigInt(window);
  return {
    numerator: THRESHOLD_SCALE * n * (n - 1n),
    determinant: THRESHOLD_SCALE * (n - 1n) + n * thresholdScaled,
  };
}

function planIn(
  schema: Schema,
  window: number,
  modulusBits: number,
  field: PrimeField,
): Omit<PackingPlan, 'level'> | undefined {
  // A plaintext of fewer bits than N is below N.
  const room = modulusBits - 1;
  const p = schema.channels.length;
  const features = featuresOf(p);
  const t = features.length;
  const b = Math.max(...schema.channels.map((channel) => scaleOf(channel).b));
  const w = 2 * b + logarithm(window) + STATISTICAL_BITS + 1;

  const matrixQuotientBits = w + logarithm(p + 2);
  const coefficientQuotientBits = field.bits + logarithm(p + 3);
  const crossTermQuotientBits = w - 1 + logarithm(t + 1);
  const masked = (quotientBits: number): number => field.bits + quotientBits + STATISTICAL_BITS + 1;

  const featureSlots = layout(w, room);
  const matrixSlots = layout(masked(matrixQuotientBits), room);
  const coefficientSlots = layout(masked(coefficientQuotientBits), room);
  const crossTermBits = masked(crossTermQuotientBits);
  // One bit more than ⟨τ, φ̂⟩ has: for level output it is the sum of squares' messages, twice as long.
  const answerBits = field.bits + w + logarithm(t + 1) + 1;
  const smallest = Math.min(
    featureSlots.perPlaintext,
    matrixSlots.perPlaintext,
    coefficientSlots.perPlaintext,
  );
  if (smallest < 1 || crossTermBits > room || answerBits + STATISTICAL_BITS > room)
    return undefined;

  const plaintexts = Math.ceil(t / featureSlots.perPlaintext);
  const usedOfLast = (t - (plaintexts - 1) * featureSlots.perPlaintext) * w;
  const rides = usedOfLast + crossTermBits <= room;
  return {
    p,
    window,
    features,
    field,
    featureSlots,
    plaintexts,
    matrixSlots,
    coefficientSlots,
    crossTerm: rides
      ? { plaintext: plaintexts - 1, shift: usedOfLast }
      : { plaintext: plaintexts, shift: 0 },
    matrixQuotientBits,
    coefficientQuotientBits,
    crossTermQuotientBits,
    answerBits,
  };
}

function layout(bits: number, room: number): SlotLayout {
  return { bits, perPlaintext: Math.floor(room / bits) };
}

/** The smallest |N|, a multiple of 64, for which there is a plan in this field. */
function sufficientBits(schema: Schema, window: number, field: PrimeField): number {
  let bits = 512;
  while (planIn(schema, window, bits, field) === undefined) bits += 64;
  return bits;
}

function doesNotFit(
  schema: Schema,
  window: number,
  modulusBits: number,
  sufficientBits: number,
): Error {
  return duoveilError(
    'BOUNDS_EXCEEDED',
    `${schema.channels.length} channels with a window of ${window} do not fit a modulus of ` +
      `${modulusBits} bits in the packed suite: use at least ${sufficientBits} bits, or a smaller ` +
      'window, fewer channels or a coarser resolution',
    { sufficientBits },
  );
}

/** `⌈log₂ n⌉` of a positive integer. */
function logarithm(n: number): number {
  return bitLength(BigInt(n - 1));
}

/** Integers side by side in one, the first lowest. Each must fit its slot. */
export function pack(values: readonly bigint[], slotBits: number): bigint {
  return values.reduce((packed, value, i) => packed + (value << BigInt(i * slotBits)), 0n);
}

/** The inverse of {@link pack}, for `count` slots; what lies above them is left out. */
export function unpack(packed: bigint, slotBits: number, count: number): bigint[] {
  const mask = (1n << BigInt(slotBits)) - 1n;
  return Array.from({ length: count }, (_, i) => (packed >> BigInt(i * slotBits)) & mask);
}
