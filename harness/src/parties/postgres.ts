/** A throw-away PostgreSQL, on a Unix socket in a directory of its own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import pg from 'pg';

import { Daemon } from './daemon.js';

/** The user that the database belongs to, and that connects. */
const USER = 'duoveil';

/** What is committed survives the end of the server's processes; not that of the machine. */
const OPTIONS = ['fsync=off', 'full_page_writes=off', 'max_connections=60'];

/** How long a statement of ours may take, in milliseconds. */
const STATEMENT_MS = 30_000;

/** Whoever the server runs as: it refuses to be root. */
interface Account {
  readonly uid?: number;
  readonly gid?: number;
}

/** See the file's comment. */
export class Postgres {
  readonly #directory: string;
  readonly #account: Account;
  #daemon: Daemon | undefined;
  #databases = 0;

  private constructor(directory: string, account: Account) {
    this.#directory = directory;
    this.#account = account;
  }

  /** Is there a PostgreSQL on the path that can be started here? */
  static get available(): boolean {
    const found = ['initdb', 'postgres'].every(
      (programme) => spawnSync(programme, ['--version']).status === 0,
    );
    return found && accountHere() !== undefined;
  }

  /** Make one and wait until it answers. */
  static async start(): Promise<Postgres> {
    const account = accountHere();
    if (account === undefined)
      throw new Error('there is no account that a PostgreSQL could run as');
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-pg-'));
    const { uid, gid } = account;
    if (uid !== undefined && gid !== undefined) await chown(directory, uid, gid);
    const postgres = new Postgres(directory, account);
    execFileSync(
      'initdb',
      ['-D', postgres.#data, '-U', USER, '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'],
      { ...account, cwd: directory, stdio: 'ignore' },
    );
    await postgres.resume();
    return postgres;
  }

  /**
   * Start it again after {@link halt}.
   * @throws where it does not come up
   */
  async resume(): Promise<void> {
    const options = [
      ...['-D', this.#data, '-k', this.#directory],
      ...['listen_addresses=', ...OPTIONS].flatMap((option) => ['-c', option]),
    ];
    this.#daemon = await Daemon.start({
      name: 'a PostgreSQL',
      command: ['postgres', ...options],
      ready: 'ready to accept connections',
      // As a crash would.
      stopSignal: 'QUIT',
      directory: this.#directory,
      account: this.#account,
    });
  }

  /** Stop it as a crash would; what it has stays. */
  async halt(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    await daemon?.stop();
  }

  /** Make a database. */
  async createDatabase(): Promise<string> {
    this.#databases += 1;
    const name = `d${this.#databases}`;
    await this.query(`create database ${name}`);
    return this.url(name);
  }

  /** The URL of a database. */
  url(name: string): string {
    return `postgres://${USER}@localhost/${name}?host=${encodeURIComponent(this.#directory)}`;
  }

  /** Run a statement, in the database that a URL names if one is given. */
  async query(text: string, url = this.url('postgres')): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({
      user: USER,
      host: this.#directory,
      database: new URL(url).pathname.slice(1),
      connectionTimeoutMillis: STATEMENT_MS,
      query_timeout: STATEMENT_MS,
    });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** Cut all connections. */
  async cut(): Promise<void> {
    await this.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename is not null',
    );
  }

  /** Stop it and remove what it has. */
  async stop(): Promise<void> {
    await this.halt();
    await rm(this.#directory, { recursive: true, force: true });
  }

  get #data(): string {
    return join(this.#directory, 'data');
  }
}

/** This process's own account, or an unprivileged one where that is root's. */
function accountHere(): Account | undefined {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((option) => {
      const { status, stdout } = spawnSync('id', [option, name], { encoding: 'utf8' });
      return status === 0 ? Number(stdout) : undefined;
    });
    if (uid !== undefined && gid !== undefined) return { uid, gid };
  }
  return undefined;
}
