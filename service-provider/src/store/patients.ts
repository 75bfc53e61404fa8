import { parsePatientId, type PatientId } from '@duoveil/common/runtime';
import {
  parsePolicy,
  parseSchema,
  policyToJson,
  type MonitoringPolicy,
  type Schema,
} from '@duoveil/common/encoding';
import type { EncodedKey } from '@duoveil/common/bcp';

import { bytesOf } from './blobs.js';
import type { Connection } from './database.js';
import { storing } from './failures.js';

/** An enrolled patient. */
export interface Patient {
  readonly id: PatientId;
  /** `h` and the proof of possession, as the gateway sent them: passed on to the CSP. */
  readonly key: EncodedKey;
  readonly schema: Schema;
  readonly policy: MonitoringPolicy;
}

/** Reads and writes enrolments. */
export class PatientStore {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** The patient, or undefined where there is no such one. */
  async find(id: PatientId): Promise<Patient | undefined> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('patients')
        .selectAll()
        .where('id', '=', id)
        .executeTakeFirst();
      return row && patientOf(row);
    });
  }

  /** All who are enrolled, by pseudonym. */
  async all(): Promise<PatientId[]> {
    return storing(async () => {
      const rows = await this.#db.selectFrom('patients').select('id').orderBy('id').execute();
      return rows.map(({ id }) => parsePatientId(id, 'stored patient'));
    });
  }

  /** Since when a patient is enrolled, or undefined where there is no such one. */
  async enrolledAt(id: PatientId): Promise<Date | undefined> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('patients')
        .select('enrolled_at')
        .where('id', '=', id)
        .executeTakeFirst();
      return row && new Date(row.enrolled_at);
    });
  }

  /**
   * Write a patient down, unless there is one of this id already.
   * @returns the one that is there: of several at the same time, the first
   */
  async keep(patient: Patient, now: Date): Promise<Patient> {
    const { id, key, schema, policy } = patient;
    await storing(async () => {
      await this.#db
        .insertInto('patients')
        .values({
          id,
          public_key: key.publicKey,
          commitment: key.commitment,
          response: key.response,
          schema: JSON.stringify(schema),
          policy: JSON.stringify(policyToJson(policy)),
          enrolled_at: now.toISOString(),
        })
        .onConflict((conflict) => conflict.column('id').doNothing())
        .execute();
    });
    return (await this.find(id)) ?? patient;
  }
}

function patientOf(row: {
  readonly id: string;
  readonly public_key: Uint8Array;
  readonly commitment: Uint8Array;
  readonly response: Uint8Array;
  readonly schema: string;
  readonly policy: string;
}): Patient {
  const schema = parseSchema(JSON.parse(row.schema), 'stored schema');
  return {
    id: parsePatientId(row.id, 'stored patient'),
    key: {
      publicKey: bytesOf(row.public_key),
      commitment: bytesOf(row.commitment),
      response: bytesOf(row.response),
    },
    schema,
    policy: parsePolicy(JSON.parse(row.policy), schema, 'stored policy'),
  };
}
