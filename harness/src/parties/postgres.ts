/** A throw-away PostgreSQL, on a Unix socket in a directory of its own. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import pg from 'pg';

import { within } from './deadlines.js';

/** The user that the database belongs to, and that connects. */
const USER = 'duoveil';

/** Ends the database when its standard input ends: it never outlives who started it. */
const WHILE_STDIN = '"$@" & pid=$!; cat > /dev/null; kill -QUIT $pid; wait $pid';

/** What is committed survives the end of the server's processes; not that of the machine. */
const OPTIONS = ['fsync=off', 'full_page_writes=off', 'max_connections=60'];

/** How long it may take to come up, and a statement of ours to be run, in milliseconds. */
const READY_MS = 60_000;
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
  #process: ChildProcess | undefined;
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
    const child = spawn('sh', ['-c', WHILE_STDIN, 'sh', 'postgres', ...options], {
      ...this.#account,
      cwd: this.#directory,
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    this.#process = child;
    let last = '';
    const ready = new Promise<void>((resolve) => {
      createInterface({ input: child.stderr }).on('line', (line) => {
        last = line;
        if (line.includes('ready to accept connections')) resolve();
      });
    });
    await within(READY_MS, () => `starting a PostgreSQL, which last said "${last}",`, ready);
  }

  /** Stop it as a crash would; what it has stays. */
  async halt(): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    this.#process = undefined;
    const closed = once(child, 'close');
    child.stdin?.end();
    await closed;
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
