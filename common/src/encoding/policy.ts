/** How a patient is monitored. Chosen by the gateway, public to the service provider. */
import { z } from 'zod';
import { parseWith } from './parse-with.js';
import type { Schema } from './schema.js';
import { MAX_THRESHOLD_SCALED } from './threshold.js';

/** What a sample is compared with. */
export type Baseline = 'fixed' | 'rolling';

/** Which family of protocols does the work. */
export type Suite = 'reference' | 'packed';

/** What the service provider learns about a scored sample. */
export type Output = 'distance' | 'level';

/** How a patient is monitored. */
export interface MonitoringPolicy {
  /** Samples that make a baseline: from p + 2, with p channels, to {@link MAX_WINDOW}. */
  readonly window: number;
  /**
   * `fixed`: the first `window` complete samples, for good. `rolling`: the last `window` accepted
   * samples, where accepted means not an outlier.
   */
  readonly baseline: Baseline;
  /** With a rolling baseline, accepted samples between trainings, 1 or more; with a fixed one, 0. */
  readonly retrainEvery: number;
  /** `T_s = round(2^16·T)`, 1 or more: a sample is an outlier when `MD² > T_s/2^16`. */
  readonly thresholdScaled: bigint;
  /** With level output: further thresholds above the first, ascending, scaled likewise; else none. */
  readonly higherThresholdsScaled: readonly bigint[];
  readonly suite: Suite;
  /** The reference suite opens the distance: it has no `level`. */
  readonly output: Output;
}

/** Largest window: packing plans reserve their slots for it. */
export const MAX_WINDOW = 4096;

/** The highest level there can be: as many thresholds. */
export const MAX_LEVEL = 15;

/** Window unless told otherwise. */
export const DEFAULT_WINDOW = 60;

/** Accepted samples between trainings of a rolling baseline, unless told otherwise. */
export const DEFAULT_RETRAIN_EVERY = 10;

const oneOf = <const T extends readonly string[]>(...names: T) =>
  z.enum(names, `must be one of ${names.join(', ')}`);

const whole = (from: number, to: number) => {
  const message = `must be a whole number from ${from} to ${to}`;
  return z.int(message).min(from, message).max(to, message);
};

const thresholdMessage = `must be a whole number from 1 to ${MAX_THRESHOLD_SCALED}`;

const threshold = z
  .union(
    [
      z.bigint(),
      z.int().transform(BigInt),
      z
        .string()
        .regex(/^\d{1,20}$/)
        .transform(BigInt),
    ],
    thresholdMessage,
  )
  .refine((scaled) => scaled >= 1n && scaled <= MAX_THRESHOLD_SCALED, thresholdMessage);

/** A policy as JSON holds it, thresholds as texts; {@link parsePolicy} reads it back. */
export function policyToJson(policy: MonitoringPolicy): Readonly<Record<string, unknown>> {
  return {
    ...policy,
    thresholdScaled: policy.thresholdScaled.toString(),
    higherThresholdsScaled: policy.higherThresholdsScaled.map(String),
  };
}

/**
 * A window that fits a schema.
 * @throws DuoveilError `SCHEMA_INVALID`
 */
export function parseWindow(value: unknown, { channels }: Schema, where: string): number {
  const form = z.strictObject({ window: whole(channels.length + 2, MAX_WINDOW) });
  return parseWith(form, { window: value }, where).window;
}

function description(p: number) {
  return z
    .strictObject({
      window: whole(p + 2, MAX_WINDOW),
      baseline: oneOf('fixed', 'rolling'),
      retrainEvery: whole(0, 0xffff_ffff).default(0),
      thresholdScaled: threshold,
      higherThresholdsScaled: z
        .array(threshold)
        .max(MAX_LEVEL - 1, `must be at most ${MAX_LEVEL - 1} in number`)
        .default([]),
      suite: oneOf('reference', 'packed'),
      output: oneOf('distance', 'level'),
    })
    .superRefine((policy, context) => {
      const refuse = (field: string, message: string) => {
        context.addIssue({ code: 'custom', path: [field], message });
      };
      if (policy.baseline === 'rolling' && policy.retrainEvery < 1) {
        refuse('retrainEvery', 'must be at least 1 with a rolling baseline');
      }
      const all = [policy.thresholdScaled, ...policy.higherThresholdsScaled];
      if (all.some((scaled, i) => i > 0 && scaled <= (all[i - 1] ?? 0n))) {
        refuse('higherThresholdsScaled', 'must be ascending, all above the first threshold');
      }
      if (policy.output === 'distance' && all.length > 1) {
        refuse('higherThresholdsScaled', 'must be empty with distance output, which has no levels');
      }
      if (policy.suite === 'reference' && policy.output === 'level') {
        refuse('output', 'must be distance with the reference suite, which opens the distance');
      }
    })
    .transform((policy) =>
      // One form for each policy: what a fixed baseline ignores does not tell two policies apart.
      policy.baseline === 'fixed' ? { ...policy, retrainEvery: 0 } : policy,
    );
}

/**
 * Read a policy from untrusted data: options, a parsed file, a message. With a fixed baseline
 * `retrainEvery` may be left out and comes out as 0.
 * @param schema what the policy is for: a window has at least two samples more than channels
 * @param where what is being read, for the message
 * @throws DuoveilError SCHEMA_INVALID that names the first wrong field and what would be right
 */
export function parsePolicy(value: unknown, schema: Schema, where: string): MonitoringPolicy {
  return parseWith(description(schema.channels.length), value, where);
}
