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

/** Why a baseline was learnt. */
export interface TrainingReason {
  readonly reason: (typeof REASONS)[number];
  /** The operator who asked for it. */
  readonly by: string | undefined;
}

const REASONS = ['first', 'rolling', 'policy', 'operator'] as const;

/** What a training says to those who watch. */
export type TrainingNotice = Omit<StoredModel, 'content'>;

/** All that is known of a training, but for what came of it. */
export interface TrainingRecord extends TrainingNotice, TrainingReason {
  readonly trainedAt: Date;
}

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

  /** The number of the model in force; 0 before the first training. */
  async last(patient: PatientId): Promise<number> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('models')
        .select('number')
        .where('patient', '=', patient)
        .orderBy('number', 'desc')
        .limit(1)
        .executeTakeFirst();
      return row?.number ?? 0;
    });
  }

  /**
   * Put a model in force, and forget the ciphertexts that no later training will need, in one
   * transaction.
   * @param lease the right to train for the patient
   * @param oldest the first sample of the window that it was trained on: none below it is needed
   * @param why why it was trained; without that, the first one, or a rolling baseline's next
   * @throws DuoveilError `PATIENT_ELSEWHERE`
   */
  async insert(
    lease: Lease,
    model: StoredModel,
    oldest: number,
    now: Date,
    why: TrainingReason = usualReason(model.number),
  ): Promise<void> {
    const { patient } = lease;
    const { number, content } = model;
    const seal = (kind: SealedKind, plaintext: Uint8Array): Buffer =>
      this.#seal.close(plaintext, { kind, patient, number });
    const row = {
      patient,
      number,
      sealed_notice: seal('notice', encodeNotice({ ...model, ...why })),
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

  /** The last trainings, at most so many, the last one first. */
  async records(patient: PatientId, limit: number): Promise<TrainingRecord[]> {
    return storing(async () => {
      const rows = await this.#db
        .selectFrom('models')
        .select(['number', 'sealed_notice', 'trained_at'])
        .where('patient', '=', patient)
        .orderBy('number', 'desc')
        .limit(limit)
        .execute();
      return rows.map((row) => ({
        ...this.#record(patient, row),
        trainedAt: new Date(row.trained_at),
      }));
    });
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

  #notice(patient: PatientId, row: NoticeRow): TrainingNotice {
    const { number, throughSequence, trainMs } = this.#record(patient, row);
    return { number, throughSequence, trainMs };
  }

  #record(
    patient: PatientId,
    { number, sealed_notice }: NoticeRow,
  ): Omit<TrainingRecord, 'trainedAt'> {
    return {
      number,
      ...decodeNotice(this.#open('notice', patient, number, sealed_notice), number),
    };
  }

  #open(kind: SealedKind, patient: PatientId, number: number, sealed: Uint8Array): Buffer {
    return this.#seal.open(bytesOf(sealed), { kind, patient, number });
  }
}

interface NoticeRow {
  readonly number: number;
  readonly sealed_notice: Uint8Array;
}

function usualReason(number: number): TrainingReason {
  return { reason: number === 1 ? 'first' : 'rolling', by: undefined };
}

/**
 * | byte | 0..7         | 8..15    | 16     | 17..18           | 19..       |
 * |------|--------------|----------|--------|------------------|------------|
 * |      | last decided | duration | reason | length of a name | name, 0, 0 |
 *
 * As many bytes for one as for any other. Notices of the first layout end after the duration.
 */
const NOTICE_BYTES = 19 + 512;
const FIRST_NOTICE_BYTES = 16;

type Notice = Omit<TrainingRecord, 'number' | 'trainedAt'>;

function encodeNotice({ throughSequence, trainMs, reason, by = '' }: Notice): Buffer {
  const bytes = Buffer.alloc(NOTICE_BYTES);
  bytes.writeBigUInt64BE(BigInt(throughSequence), 0);
  bytes.writeDoubleBE(trainMs, 8);
  bytes.writeUInt8(REASONS.indexOf(reason), 16);
  bytes.writeUInt16BE(bytes.write(by, 19, 'utf8'), 17);
  return bytes;
}

function decodeNotice(bytes: Buffer, number: number): Notice {
  if (bytes.length !== NOTICE_BYTES && bytes.length !== FIRST_NOTICE_BYTES) {
    throw duoveilError('STORAGE_FAILED', 'the store holds a training of an unknown form');
  }
  const throughSequence = Number(bytes.readBigUInt64BE(0));
  const trainMs = bytes.readDoubleBE(8);
  if (bytes.length === FIRST_NOTICE_BYTES) {
    return { throughSequence, trainMs, ...usualReason(number) };
  }
  const reason = REASONS[bytes.readUInt8(16)] ?? 'first';
  const by = bytes.toString('utf8', 19, 19 + bytes.readUInt16BE(17));
  return { throughSequence, trainMs, reason, by: by === '' ? undefined : by };
}
