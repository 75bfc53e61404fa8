import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';

import type { Secret } from '@duoveil/common/secret';

import { inTransaction, migrate } from './database.js';
import type { Database, News, NewsListener, SnapshotSource } from './database.js';
import { storing } from './failures.js';
import type { PostgresAddress } from './postgres-url.js';
import type { Tables } from './tables.js';

/** How a PostgreSQL is reached. */
export interface PostgresOptions extends PostgresAddress {
  readonly password?: Secret<string> | undefined;
}

/** One writes, the others read. */
const CONNECTIONS = 8;

/** All in milliseconds. */
const LIMITS = {
  connectionTimeoutMillis: 5_000,
  statement_timeout: 10_000,
  // At the client too: a server that is gone does not keep time.
  query_timeout: 12_000,
  // A process that stalls within a transaction must not hold up who takes its patients over.
  idle_in_transaction_session_timeout: 1_500,
} as const;

/** How long to wait before a connection for listening is made again, in milliseconds. */
const LISTEN_AGAIN_MS = 500;

const CHANNEL = 'duoveil_progress';

/**
 * Open a PostgreSQL database and bring it to the current layout. Any number of service providers may
 * have it open.
 * @throws DuoveilError `STORAGE_UNAVAILABLE`, `STORAGE_FAILED`, `STORAGE_FULL`
 */
export async function openPostgres(options: PostgresOptions): Promise<Database> {
  const config = clientConfig(options);
  const db = connectTo(config);
  try {
    await storing(() => migrate(db));
  } catch (error) {
    await db.destroy();
    throw error;
  }
  const listeners: Listening[] = [];
  return {
    db,
    shared: true,
    nowMs: sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`,
    announce: async (transaction, patient, news) => {
      await sql`select pg_notify(${CHANNEL}, ${payloadOf(patient, news)})`.execute(transaction);
    },
    listen: (listener) => {
      listeners.push(new Listening(config, listener));
    },
    close: async () => {
      await Promise.all(listeners.map((one) => one.close()));
      await db.destroy();
    },
  };
}

/**
 * Open a PostgreSQL database to read it, whoever else has it open.
 * @throws DuoveilError `STORAGE_UNAVAILABLE`, `STORAGE_FAILED` at the first snapshot
 */
export function readPostgres(options: PostgresOptions): SnapshotSource {
  const db = connectTo(clientConfig(options));
  return {
    snapshot: (read) =>
      storing(() =>
        inTransaction(db, async (connection) => {
          await sql`set transaction isolation level repeatable read, read only`.execute(connection);
          // It holds nobody up, and a slow disk for what is read is no reason to end it.
          await sql`set local idle_in_transaction_session_timeout = 0`.execute(connection);
          await read(connection);
        }),
      ),
    close: () => db.destroy(),
  };
}

function connectTo(config: pg.ClientConfig): Kysely<Tables> {
  const pool = new pg.Pool({ ...config, max: CONNECTIONS });
  // Connections are cut while nobody uses them, and also between the statements of a transaction,
  // whose next one fails then: nothing to be done about it here.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
}

function clientConfig({ password, ...address }: PostgresOptions): pg.ClientConfig {
  return {
    ...address,
    ...LIMITS,
    password: password?.reveal() ?? '',
    keepAlive: true,
    application_name: 'duoveil',
    types,
  };
}

/** A pseudonym has no space. */
function payloadOf(patient: string, news: News): string {
  return news === 'progress' ? patient : `${patient} ${news}`;
}

/** 64-bit integers are sequence numbers and moments here: they fit a JavaScript number. */
const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, Number);

/** A connection that hears what is announced; made again whenever it is lost. */
class Listening {
  readonly #config: pg.ClientConfig;
  readonly #listener: NewsListener;
  #client: pg.Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(config: pg.ClientConfig, listener: NewsListener) {
    this.#config = config;
    this.#listener = listener;
    void this.#begin();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#client?.end().catch(() => undefined);
  }

  async #begin(): Promise<void> {
    const client = new pg.Client(this.#config);
    this.#client = client;
    client.on('error', () => undefined);
    client.on('notification', ({ payload }) => {
      const [patient, ...news] = (payload ?? '').split(' ');
      this.#listener(patient, news.includes('book') ? 'book' : 'progress');
    });
    client.on('end', () => {
      this.#again();
    });
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      // Whatever was announced meanwhile was not heard.
      this.#listener(undefined, 'book');
    } catch {
      await client.end().catch(() => undefined);
      this.#again();
    }
  }

  #again(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#begin(), LISTEN_AGAIN_MS);
  }
}
