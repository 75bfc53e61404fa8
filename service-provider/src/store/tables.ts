/** The public parameters under which everything else in the store is encrypted: one row. */
export interface ParametersTable {
  /** Always 1. */
  readonly id: number;
  readonly digest: string;
  readonly family: string;
  readonly modulus: Uint8Array;
  readonly generator: Uint8Array;
}

/** By which a wrong store key is noticed: one row. */
export interface StoreKeyTable {
  /** Always 1. */
  readonly id: number;
  /** A sealed nothing. */
  readonly sealed_check: Uint8Array;
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
 * Samples in the order in which their gateway numbered them. The ciphertexts are forgotten once no
 * scoring and no training can need them, by their number alone; the digest stays, to recognise a
 * repeated sample.
 */
export interface SamplesTable {
  readonly patient: string;
  readonly sequence: number;
  readonly digest: Uint8Array;
  readonly ciphertexts: Uint8Array | null;
  readonly received_at: string;
  /** When its gateway says that it was measured, if it does. */
  readonly measured_at: string | null;
}

/** Encrypted baselines, numbered from 1 for each patient. */
export interface ModelsTable {
  readonly patient: string;
  readonly number: number;
  /** Sealed: after which sample it was trained, and how long that took. */
  readonly sealed_notice: Uint8Array;
  /** Sealed: what the suite needs to score, in a form of its own. */
  readonly sealed_content: Uint8Array;
  readonly trained_at: string;
}

/** What was decided about each sample: one row a sample, written once. */
export interface DecisionsTable {
  readonly patient: string;
  readonly sequence: number;
  /** Sealed: what was decided, in the same number of bytes whatever it was. */
  readonly sealed_outcome: Uint8Array;
  readonly decided_at: string;
}

/** Each patient's alarms: one row. */
export interface AlarmBooksTable {
  readonly patient: string;
  /** Another random number with every change. */
  readonly revision: number;
  /** Sealed: all alarms and what operators did, padded. */
  readonly sealed_book: Uint8Array;
}

/** Which process watches a patient. A row stays when nobody does: its epoch never goes back. */
export interface LeasesTable {
  readonly patient: string;
  /** Empty for nobody. */
  readonly owner: string;
  readonly epoch: number;
  /** Milliseconds by the database's clock. */
  readonly expires_at: number;
  /** A process that wants the patient. */
  readonly claimant: string | null;
}

/** All tables. */
export interface Tables {
  readonly parameters: ParametersTable;
  readonly store_key: StoreKeyTable;
  readonly patients: PatientsTable;
  readonly leases: LeasesTable;
  readonly samples: SamplesTable;
  readonly models: ModelsTable;
  readonly decisions: DecisionsTable;
  readonly alarm_books: AlarmBooksTable;
}
