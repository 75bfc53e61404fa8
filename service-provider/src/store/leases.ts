/**
 * Which replica watches a patient. A lease has an owner, an epoch that grows with every owner, and a
 * moment of expiry by the database's clock. Expiry lets another replica take over; the epoch is what
 * makes that safe: every write for a patient checks, in its own transaction, that its lease is still
 * the one in force, and a replica that was stalled past its expiry is refused.
 */
import { randomBytes } from 'node:crypto';

import { duoveilError } from '@duoveil/common/errors';
import { parsePatientId, type PatientId } from '@duoveil/common/runtime';
import { sql, type RawBuilder } from 'kysely';

import type { Connection, Database } from './database.js';
import { storing } from './failures.js';
import { GroupCommit } from './group-commit.js';

/** The right to write for a patient, for as long as no other replica has it. */
export interface Lease {
  readonly patient: PatientId;
  /** The process that has it. */
  readonly owner: string;
  /** How often the patient has changed owners. */
  readonly epoch: number;
}

/** No process is called that. */
const NOBODY = '';

/** Takes, renews and gives back the leases of one process. */
export class LeaseStore {
  /** This process, among all that use the database. */
  readonly #owner = randomBytes(12).toString('hex');
  readonly #database: Database;
  readonly #commits: GroupCommit;
  /** Apart from all else: to take a patient over may mean to wait for a process that is stalled. */
  readonly #takeovers: GroupCommit;
  readonly #leaseMs: number;

  /** @param leaseMs how long a lease lasts that is not renewed */
  constructor(database: Database, commits: GroupCommit, leaseMs: number) {
    this.#database = database;
    this.#commits = commits;
    // Replicas that lock several patients' rows, each in an order of its own, would wait for each other.
    this.#takeovers = new GroupCommit(database.db, database.shared ? 1 : Infinity);
    this.#leaseMs = leaseMs;
  }

  /**
   * Take a patient who has no owner, or a new lease for one that this process has.
   * @param claim tell another owner to hand the patient over
   * @returns undefined where another process has the patient
   */
  async acquire(patient: PatientId, claim: boolean): Promise<Lease | undefined> {
    const owner = this.#owner;
    const { nowMs } = this.#database;
    let epoch: number | undefined;
    await this.#takeovers.write(async (transaction) => {
      const row = await transaction
        .insertInto('leases')
        .values({ patient, owner, epoch: 1, expires_at: this.#expiry(), claimant: null })
        .onConflict((conflict) =>
          conflict
            .column('patient')
            .doUpdateSet({
              owner,
              epoch: sql<number>`leases.epoch + 1`,
              expires_at: this.#expiry(),
              claimant: null,
            })
            .where((is) =>
              is.or([is('leases.expires_at', '<=', nowMs), is('leases.owner', '=', owner)]),
            ),
        )
        .returning('epoch')
        .executeTakeFirst();
      epoch = row?.epoch;
      if (epoch !== undefined || !claim) return;
      await transaction
        .updateTable('leases')
        .set({ claimant: owner })
        .where('patient', '=', patient)
        .execute();
    });
    return epoch === undefined ? undefined : { patient, owner, epoch };
  }

  /** Renew all leases of this process, in one statement, but for those that another one claims. */
  async renew(): Promise<Lease[]> {
    const owner = this.#owner;
    let renewed: Lease[] = [];
    await this.#commits.write(async (transaction) => {
      const rows = await transaction
        .updateTable('leases')
        .set({ expires_at: this.#expiry() })
        .where('owner', '=', owner)
        .where('claimant', 'is', null)
        .returning(['patient', 'epoch'])
        .execute();
      renewed = rows.map(({ patient, epoch }) => ({ patient: stored(patient), owner, epoch }));
    });
    return renewed;
  }

  /** Give a lease back: to who claims it, or to nobody. Nothing happens where it is not in force. */
  async release({ patient, owner, epoch }: Lease): Promise<void> {
    await this.#commits.write(async (transaction) => {
      await transaction
        .updateTable('leases')
        .set({
          owner: sql<string>`coalesce(claimant, ${NOBODY})`,
          epoch: epoch + 1,
          expires_at: sql<number>`case when claimant is null then 0 else ${this.#expiry()} end`,
          claimant: null,
        })
        .where('patient', '=', patient)
        .where('owner', '=', owner)
        .where('epoch', '=', epoch)
        .execute();
    });
  }

  /** Patients without an owner, at most so many. */
  async free(limit: number): Promise<PatientId[]> {
    return storing(async () => {
      const rows = await this.#database.db
        .selectFrom('patients')
        .leftJoin('leases', 'leases.patient', 'patients.id')
        .select('patients.id')
        .where((is) =>
          is.or([
            is('leases.patient', 'is', null),
            is('leases.expires_at', '<=', this.#database.nowMs),
          ]),
        )
        .orderBy('patients.id')
        .limit(limit)
        .execute();
      return rows.map(({ id }) => stored(id));
    });
  }

  /** Let all leases expire: for a database that no other process can have open. */
  async expireAll(): Promise<void> {
    await storing(async () => {
      await this.#database.db.updateTable('leases').set({ expires_at: 0 }).execute();
    });
  }

  #expiry(): RawBuilder<number> {
    return sql<number>`${this.#database.nowMs} + ${sql.lit(this.#leaseMs)}`;
  }
}

/** Writes for patients whose lease is in force, and for no others. */
export class FencedWrites {
  readonly #database: Database;
  readonly #commits: GroupCommit;
  /** Leases that were found in force in a transaction are so up to its end. */
  readonly #inForce = new WeakMap<Connection, Set<Lease>>();
  /** Patients whose watchers a transaction tells at its end. */
  readonly #told = new WeakMap<Connection, Set<PatientId>>();

  constructor(database: Database, commits: GroupCommit) {
    this.#database = database;
    this.#commits = commits;
  }

  /**
   * Write something, in a transaction in which the lease is in force.
   * @param news whether those who watch the patient are to be told
   * @throws DuoveilError `PATIENT_ELSEWHERE` where another process has taken the patient over
   */
  async write(
    lease: Lease,
    writing: (transaction: Connection) => Promise<void>,
    { news }: { readonly news: boolean },
  ): Promise<void> {
    await this.#commits.write(async (transaction) => {
      if (isNew(this.#inForce, transaction, lease)) {
        await this.#requireInForce(transaction, lease);
      }
      await writing(transaction);
      if (news && isNew(this.#told, transaction, lease.patient)) {
        await this.#database.announce(transaction, lease.patient, 'progress');
      }
    });
  }

  async #requireInForce(transaction: Connection, { patient, owner, epoch }: Lease): Promise<void> {
    const row = await transaction
      .selectFrom('leases')
      .select('epoch')
      .where('patient', '=', patient)
      .where('owner', '=', owner)
      .where('epoch', '=', epoch)
      // Nobody takes over between this look and the commit.
      .$if(this.#database.shared, (query) => query.forShare())
      .executeTakeFirst();
    if (row === undefined) throw elsewhere();
  }
}

/** Is this the first time for a transaction? */
function isNew<T>(seen: WeakMap<Connection, Set<T>>, transaction: Connection, one: T): boolean {
  const known = seen.get(transaction) ?? new Set();
  seen.set(transaction, known);
  const first = !known.has(one);
  known.add(one);
  return first;
}

/** The error of who does not have a patient. */
export function elsewhere(): Error {
  return duoveilError(
    'PATIENT_ELSEWHERE',
    'another service provider on the same database has this patient at the moment: try again',
  );
}

function stored(patient: string): PatientId {
  return parsePatientId(patient, 'stored patient');
}
