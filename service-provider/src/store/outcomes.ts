import { duoveilError } from '@duoveil/common/errors';

/** What was found for one sample. */
export type Outcome =
  | { readonly kind: 'learning' }
  | {
      readonly kind: 'scored';
      readonly outlier: boolean;
      /** What was learnt: `MD²`, the exact rational rounded once, or a level. */
      readonly statistic:
        | { readonly kind: 'distance'; readonly squaredDistance: number }
        | { readonly kind: 'level'; readonly level: number };
      /** The number of the model that it was scored against. */
      readonly model: number;
      /** From the moment the sample was taken up to the decision, in milliseconds. */
      readonly latencyMs: number;
    }
  /** The ciphertext holds no sample of the patient's schema: nothing can be said of it. */
  | { readonly kind: 'unscorable' };

/** Accepted: used to learn, or scored and not an outlier. Trainings are on accepted samples. */
export function isAccepted(outcome: Outcome): boolean {
  return outcome.kind === 'learning' || (outcome.kind === 'scored' && !outcome.outlier);
}

const KINDS = ['learning', 'scored', 'unscorable'] as const;
const STATISTICS = ['distance', 'level'] as const;

/**
 * | byte | 0    | 1       | 2         | 3 | 4..11     | 12..15 | 16..23  |
 * |------|------|---------|-----------|---|-----------|--------|---------|
 * |      | kind | outlier | statistic | 0 | its value | model  | latency |
 */
export const OUTCOME_BYTES = 24;

/** An outcome as bytes: as many for one as for any other, so that their length tells nothing. */
export function encodeOutcome(outcome: Outcome): Buffer {
  const bytes = Buffer.alloc(OUTCOME_BYTES);
  bytes.writeUInt8(KINDS.indexOf(outcome.kind), 0);
  if (outcome.kind !== 'scored') return bytes;
  const { statistic } = outcome;
  bytes.writeUInt8(Number(outcome.outlier), 1);
  bytes.writeUInt8(STATISTICS.indexOf(statistic.kind), 2);
  const value = statistic.kind === 'distance' ? statistic.squaredDistance : statistic.level;
  bytes.writeDoubleBE(value, 4);
  bytes.writeUInt32BE(outcome.model, 12);
  bytes.writeDoubleBE(outcome.latencyMs, 16);
  return bytes;
}

/**
 * The inverse of {@link encodeOutcome}.
 * @throws DuoveilError `STORAGE_FAILED` where it cannot be one
 */
export function decodeOutcome(bytes: Buffer): Outcome {
  const kind = bytes.length === OUTCOME_BYTES ? KINDS[bytes.readUInt8(0)] : undefined;
  if (kind === undefined) {
    throw duoveilError('STORAGE_FAILED', 'the store holds a decision of an unknown form');
  }
  if (kind !== 'scored') return { kind };
  const value = bytes.readDoubleBE(4);
  return {
    kind,
    outlier: bytes.readUInt8(1) === 1,
    statistic:
      STATISTICS[bytes.readUInt8(2)] === 'level'
        ? { kind: 'level', level: value }
        : { kind: 'distance', squaredDistance: value },
    model: bytes.readUInt32BE(12),
    latencyMs: bytes.readDoubleBE(16),
  };
}
