import type { Selectable } from 'kysely';

/** The public parameters under which everything else in the store is encrypted: one row. */
export interface ParametersTable {
  readonly digest: string;
  readonly family: string;
  readonly modulus: Uint8Array;
  readonly generator: Uint8Array;
}

/** Enrolled patients. */
export interface PatientsTable {
  readonly id: string;
  readonly public_key: Uint8Array;
  readonly commitment: Uint8Array;
  readonly response: Uint8Array;
  /** JSON of the channel schema. */
  readonly schema: string;
  /** JSON of the monitoring policy. */
  readonly policy: string;
  readonly enrolled_at: string;
}

/**
 * Samples in the order in which their gateway numbered them. The ciphertexts are forgotten as soon
 * as no scoring and no training can need them; the digest stays, to recognise a repeated sample.
 */
export interface SamplesTable {
  readonly patient: string;
  readonly sequence: number;
  readonly digest: Uint8Array;
  readonly ciphertexts: Uint8Array | null;
  readonly received_at: string;
}

/** Encrypted baselines, numbered from 1 for each patient. */
export interface ModelsTable {
  readonly patient: string;
  readonly number: number;
  /** The last sample that had been decided when this model was trained. */
  readonly through_sequence: number;
  /** What the suite needs to score, in a form of its own. */
  readonly content: Uint8Array;
  readonly train_ms: number;
  readonly trained_at: string;
}

/** What was decided about each sample: one row a sample, written once. */
export interface DecisionsTable {
  readonly patient: string;
  readonly sequence: number;
  readonly outcome: 'learning' | 'scored' | 'unscorable';
  /** 1 for an outlier, 0 for none, null where nothing was scored. */
  readonly outlier: number | null;
  /** With distance output: MD², rounded once. */
  readonly squared_distance: number | null;
  /** With level output. */
  readonly level: number | null;
  readonly model: number | null;
  readonly latency_ms: number | null;
  readonly decided_at: string;
}

/** All tables. */
export interface Tables {
  readonly parameters: ParametersTable;
  readonly patients: PatientsTable;
  readonly samples: SamplesTable;
  readonly models: ModelsTable;
  readonly decisions: DecisionsTable;
}

export type DecisionRow = Selectable<DecisionsTable>;
