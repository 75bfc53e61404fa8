import { duoveilError } from '@duoveil/common/errors';
import type { PatientId } from '@duoveil/common/runtime';

import { bytesOf } from './blobs.js';
import type { Connection } from './database.js';
import { storing } from './failures.js';
import type { FencedWrites, Lease } from './leases.js';
import { forgetCiphertexts } from './samples.js';
import type { Seal, SealedKind } from './seal.js';

/** An encrypted baseline. */
export interface StoredModel {
  /** 1 for a patient's first, then counting. */
  readonly number: number;
  /** The last sample that had been decided when it was trained. */
  readonly throughSequence: number;
  /** What the suite needs to score, in a form of its own. */
  readonly content: Uint8Array;
  /** Wall time of the training, in milliseconds. */
  readonly trainMs: number;
}

/** What a training says to those who watch. */
export type TrainingNotice = Omit<StoredModel, 'content'>;

/** Notices that are opened at once on the way back through a patient's trainings. */
const PAGE = 32;

/** Reads and writes the encrypted baselines, sealed. */
export class ModelStore {
  readonly #db: Connection;
  readonly #writes: FencedWrites;
  readonly #seal: Seal;

  constructor(db: Connection, writes: FencedWrites, seal: Seal) {
    this.#db = db;
    this.#writes = writes;
    this.#seal = seal;
  }

  /** The model in force, or undefined before the first training. */
  async latest(patient: PatientId): Promise<StoredModel | undefined> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('models')
        .select(['number', 'sealed_notice', 'sealed_content'])
        .where('patient', '=', patient)
        .orderBy('number', 'desc')
        .limit(1)
        .executeTakeFirst();
      if (row === undefined) return undefined;
      const content = this.#open('model', patient, row.number, row.sealed_content);
      return { ...this.#notice(patient, row), content: bytesOf(content) };
    });
  }

  /**
   * Put a model in force, and forget the ciphertexts that no later training will need, in one
   * transaction.
   * @param lease the right to train for the patient
   * @param oldest the first sample of the window that it was trained on: none below it is needed
   * @throws DuoveilError `PATIENT_ELSEWHERE`
   */
  async insert(lease: Lease, model: StoredModel, oldest: number, now: Date): Promise<void> {
    const { patient } = lease;
    const { number, content } = model;
    const seal = (kind: SealedKind, plaintext: Uint8Array): Buffer =>
      this.#seal.close(plaintext, { kind, patient, number });
    const row = {
      patient,
      number,
      sealed_notice: seal('notice', encodeNotice(model)),
      sealed_content: seal('model', content),
      trained_at: now.toISOString(),
    };
    await this.#writes.write(
      lease,
      async (transaction) => {
        await transaction.insertInto('models').values(row).execute();
        await forgetCiphertexts(transaction, patient, 1, oldest - 1);
      },
      { news: true },
    );
  }

  /** Trainings after the one numbered `after` that happened once sample `fromSequence` was decided, oldest first. */
  async trainings(
    patient: PatientId,
    after: number,
    fromSequence: number,
  ): Promise<TrainingNotice[]> {
    const found: TrainingNotice[] = [];
    let before = Infinity;
    for (;;) {
      const page = await this.#noticesBefore(patient, after, before);
      const wanted = page.filter(({ throughSequence }) => throughSequence >= fromSequence);
      found.push(...wanted);
      if (wanted.length < PAGE) return found.reverse();
      before = wanted.at(-1)?.number ?? 0;
    }
  }

  /** The last notices with numbers between two, the last one first. */
  async #noticesBefore(
    patient: PatientId,
    after: number,
    before: number,
  ): Promise<TrainingNotice[]> {
    return storing(async () => {
      const rows = await this.#db
        .selectFrom('models')
        .select(['number', 'sealed_notice'])
        .where('patient', '=', patient)
        .where('number', '>', after)
        .$if(before !== Infinity, (query) => query.where('number', '<', before))
        .orderBy('number', 'desc')
        .limit(PAGE)
        .execute();
      return rows.map((row) => this.#notice(patient, row));
    });
  }

  #notice(
    patient: PatientId,
    row: { readonly number: number; readonly sealed_notice: Uint8Array },
  ): TrainingNotice {
    const bytes = this.#open('notice', patient, row.number, row.sealed_notice);
    return { number: row.number, ...decodeNotice(bytes) };
  }

  #open(kind: SealedKind, patient: PatientId, number: number, sealed: Uint8Array): Buffer {
    return this.#seal.open(bytesOf(sealed), { kind, patient, number });
  }
}

const NOTICE_BYTES = 16;

function encodeNotice({ throughSequence, trainMs }: TrainingNotice): Buffer {
  const bytes = Buffer.alloc(NOTICE_BYTES);
  bytes.writeBigUInt64BE(BigInt(throughSequence), 0);
  bytes.writeDoubleBE(trainMs, 8);
  return bytes;
}

function decodeNotice(bytes: Buffer): Omit<TrainingNotice, 'number'> {
  if (bytes.length !== NOTICE_BYTES) {
    throw duoveilError('STORAGE_FAILED', 'the store holds a training of an unknown form');
  }
  return { throughSequence: Number(bytes.readBigUInt64BE(0)), trainMs: bytes.readDoubleBE(8) };
}
