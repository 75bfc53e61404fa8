import type { Ciphertext, PublicParameters } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import type { PatientId } from '@duoveil/common/runtime';

import { bytesOf, packCiphertexts, unpackCiphertexts } from './blobs.js';
import type { Connection } from './database.js';
import { storing } from './failures.js';
import type { FencedWrites, Lease } from './leases.js';

/** A sample as the service provider holds it. */
export interface StoredSample {
  /** Its place in the patient's series, from 1. */
  readonly sequence: number;
  readonly ciphertexts: readonly Ciphertext[];
}

/** When a sample came in, and when its gateway says that it was measured, if it does. */
export interface SampleTimes {
  readonly receivedAt: Date;
  readonly measuredAt: Date | undefined;
}

/** A sample with its times. */
export interface TimedSample extends StoredSample, SampleTimes {}

/** Reads and writes the encrypted samples. */
export class SampleStore {
  readonly #db: Connection;
  readonly #writes: FencedWrites;
  readonly #parameters: PublicParameters;

  constructor(db: Connection, writes: FencedWrites, parameters: PublicParameters) {
    this.#db = db;
    this.#writes = writes;
    this.#parameters = parameters;
  }

  /** The last sequence number that is on disk; 0 where there is none. */
  async last(patient: PatientId): Promise<number> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('samples')
        .select((builder) => builder.fn.max('sequence').as('last'))
        .where('patient', '=', patient)
        .executeTakeFirst();
      return row?.last ?? 0;
    });
  }

  /** The digest under which a sequence number was stored. */
  async digest(patient: PatientId, sequence: number): Promise<Uint8Array | undefined> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('samples')
        .select('digest')
        .where('patient', '=', patient)
        .where('sequence', '=', sequence)
        .executeTakeFirst();
      return row && bytesOf(row.digest);
    });
  }

  /**
   * Write a sample down. When this resolves it is on disk.
   * @param lease the right to take the patient's samples
   * @param measuredAt when it was measured, where that is known
   * @throws DuoveilError `PATIENT_ELSEWHERE`
   */
  async append(
    lease: Lease,
    { sequence, ciphertexts }: StoredSample,
    digest: Uint8Array,
    now: Date,
    measuredAt?: Date,
  ): Promise<void> {
    const row = {
      patient: lease.patient,
      sequence,
      digest,
      ciphertexts: packCiphertexts(ciphertexts, this.#parameters),
      received_at: now.toISOString(),
      measured_at: measuredAt?.toISOString() ?? null,
    };
    await this.#writes.write(
      lease,
      async (transaction) => {
        await transaction.insertInto('samples').values(row).execute();
      },
      { news: false },
    );
  }

  /** One sample, or undefined where it is not there (yet). */
  async find(patient: PatientId, sequence: number): Promise<TimedSample | undefined> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('samples')
        .select(['ciphertexts', 'received_at', 'measured_at'])
        .where('patient', '=', patient)
        .where('sequence', '=', sequence)
        .executeTakeFirst();
      const column = row?.ciphertexts ?? undefined;
      if (row === undefined || column === undefined) return undefined;
      return {
        sequence,
        ciphertexts: unpackCiphertexts(column, this.#parameters),
        ...timesOf(row),
      };
    });
  }

  /** The times of one sample, or undefined where it is not there. */
  async times(patient: PatientId, sequence: number): Promise<SampleTimes | undefined> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('samples')
        .select(['received_at', 'measured_at'])
        .where('patient', '=', patient)
        .where('sequence', '=', sequence)
        .executeTakeFirst();
      return row && timesOf(row);
    });
  }

  /**
   * Samples by their sequence numbers, in ascending order.
   * @throws DuoveilError `STORAGE_FAILED` where one is not held any more
   */
  async all(patient: PatientId, sequences: readonly number[]): Promise<StoredSample[]> {
    return storing(async () => {
      const rows = await this.#db
        .selectFrom('samples')
        .select(['sequence', 'ciphertexts'])
        .where('patient', '=', patient)
        .where('sequence', 'in', sequences)
        .where('ciphertexts', 'is not', null)
        .orderBy('sequence')
        .execute();
      if (rows.length !== sequences.length) {
        throw duoveilError('STORAGE_FAILED', 'the store lacks samples that a training needs');
      }
      return rows.map(({ sequence, ciphertexts }) => ({
        sequence,
        ciphertexts: unpackCiphertexts(ciphertexts ?? new Uint8Array(), this.#parameters),
      }));
    });
  }
}

/** The times in a row. */
export function timesOf(row: {
  readonly received_at: string;
  readonly measured_at: string | null;
}): SampleTimes {
  return {
    receivedAt: new Date(row.received_at),
    measuredAt: row.measured_at === null ? undefined : new Date(row.measured_at),
  };
}

/**
 * Forget the ciphertexts of the samples from one number through another. The rows stay, so that a
 * repeated sample is still recognised.
 */
export async function forgetCiphertexts(
  db: Connection,
  patient: PatientId,
  from: number,
  through: number,
): Promise<void> {
  await db
    .updateTable('samples')
    .set({ ciphertexts: null })
    .where('patient', '=', patient)
    .where('sequence', '>=', from)
    .where('sequence', '<=', through)
    .where('ciphertexts', 'is not', null)
    .execute();
}
