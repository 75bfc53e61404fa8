/** Throw-away CSP and SP processes, with their own authority, in one directory. */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import {
  parseParametersDigest,
  type GeneratorFamily,
  type ParametersDigest,
} from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import type { EngineChoice } from '@duoveil/common/modular';
import {
  callUnary,
  connect,
  createAuthority,
  credentialFiles,
  defaultTrustDomain,
  issueCertificate,
  loadTls,
  parsePatientId,
  writeCredentials,
  type Authority,
  type Identity,
  type LogLevel,
  type PatientId,
  type Tls,
} from '@duoveil/common/runtime';

import { CustodyServiceService } from '@duoveil/proto';

import type { ChildOptions } from './child.js';
import { Supervised } from './supervised.js';

const require = createRequire(import.meta.url);

/** How long a server may take until it listens, in milliseconds. */
const READY_MS = 90_000;

/** How long a call may take. */
const SOON = { deadlineMs: 60_000 };

const CUSTODIAN = parsePatientId('custodian', 'name');

/** What the servers are to be. */
export interface ServerOptions {
  /** An existing directory for everything that they keep. */
  readonly directory: string;
  readonly keyBits: number;
  readonly generator: GeneratorFamily;
  readonly engine: EngineChoice;
  /** May the service provider learn distances? */
  readonly allowDistance: boolean;
  /** Do the CSP's default budgets hold? None do unless asked for: a recording goes as fast as it can. */
  readonly defaultBudgets?: boolean;
  readonly logLevel: LogLevel;
  /** Added to the environment of both. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Called with each line of a server's log. */
  readonly onLog: (line: string) => void;
  /** Issues all certificates; one of their own unless given. */
  readonly authority?: Authority;
  /** Seals the master key; a random one unless given. */
  readonly passphrase?: string;
  /** A PostgreSQL for the SP and its replicas, in place of a file. */
  readonly databaseUrl?: string;
}

/** Another SP on the same database, or another CSP with the same keys. */
export interface Replica {
  readonly party: Supervised;
  /** Where gateways, or SPs, connect to. */
  readonly address: string;
}

/** Another CSP. */
export interface CspReplica extends Replica {
  /** Its state directory. */
  readonly state: string;
}

/** Another SP, for another generation of keys. */
export interface Successor extends Replica {
  /** The file of its database. */
  readonly database: string;
}

/** How an SP is told where it keeps its things. */
interface StoreArguments {
  readonly options: readonly string[];
  readonly environment: Record<string, string>;
}

/** In a file, which keeps its key beside it. */
function storeIn(file: string): StoreArguments {
  return { options: ['--database', file], environment: {} };
}

/** The host that throw-away servers listen on. */
const HOST = '127.0.0.1';

/** Nothing here needs protecting. */
const NO_BUDGETS = ['--patient-per-minute', '--patient-per-day', '--provider-per-minute'].flatMap(
  (budget) => [budget, '0'],
);

/** `auto` is left to the environment and the party's own default. */
export function engineArguments(engine: EngineChoice): string[] {
  return engine === 'auto' ? [] : ['--engine', engine];
}

/** A CSP and an SP, each a process of its own over mutual TLS on loopback. */
export class Servers {
  readonly #options: ServerOptions;
  readonly #authority: Authority;
  readonly #passphrase: string;
  readonly #storeKey = randomBytes(32).toString('hex');
  readonly #replicas: Replica[] = [];
  #digest: ParametersDigest | undefined;
  #custodian: Promise<Tls> | undefined;
  #setUp: Supervised | undefined;
  #csp: Supervised | undefined;
  #sp: Supervised | undefined;
  #cspPort = 0;
  #spPort = 0;
  #stopped = false;

  private constructor(options: ServerOptions, authority: Authority) {
    this.#options = options;
    this.#authority = authority;
    this.#passphrase = options.passphrase ?? randomBytes(24).toString('base64');
  }

  /** Make the authority; start nothing yet. */
  static async prepare(options: ServerOptions): Promise<Servers> {
    const authority =
      options.authority ??
      (await createAuthority({
        commonName: 'duoveil throw-away CA',
        days: 30,
        now: new Date(),
      }));
    return new Servers(options, authority);
  }

  /** The digest of the parameters, to pin. */
  get digest(): ParametersDigest {
    if (this.#digest === undefined) throw new Error('the CSP is not set up yet');
    return this.#digest;
  }

  /** Where gateways connect to. */
  get address(): string {
    return `${HOST}:${String(this.#spPort)}`;
  }

  /** Where the SP connects to, unless it was told otherwise. */
  get cspAddress(): string {
    return `${HOST}:${String(this.#cspPort)}`;
  }

  /** The CSP's state directory. */
  get cspState(): string {
    return this.#path('csp', 'state');
  }

  /** The key of the SPs' store, where that is on a PostgreSQL: 64 hexadecimal digits. */
  get storeKey(): string {
    return this.#storeKey;
  }

  /** The file of the SP's store. */
  get spDatabase(): string {
    return this.#path('sp', 'store.db');
  }

  get csp(): Supervised {
    if (this.#csp === undefined) throw new Error('the CSP is not started yet');
    return this.#csp;
  }

  get sp(): Supervised {
    if (this.#sp === undefined) throw new Error('the SP is not started yet');
    return this.#sp;
  }

  /** Draw the master key: the longest part. */
  async setUp(): Promise<void> {
    const lines: string[] = [];
    this.#setUp = this.#supervise('csp', (restart) => {
      // One that was killed may have written down a part: that is of no use.
      if (restart > 0) rmSync(this.cspState, { recursive: true, force: true });
      return {
        programme: require.resolve('@duoveil/csp/main'),
        arguments: [
          'init',
          ...['--state', this.cspState],
          ...['--key-bits', String(this.#options.keyBits)],
          ...['--generator', this.#options.generator],
          '--insecure-key-bits',
        ],
        environment: { DUOVEIL_PASSPHRASE: this.#passphrase },
        onOutput: (line) => lines.push(line),
      };
    });
    await this.#setUp.finished;
    this.#digest = parseParametersDigest(lines.at(-1) ?? '', 'csp init');
  }

  /**
   * Start the CSP and wait until it listens.
   * @param how `sealed`: without what unseals it
   */
  async startCsp(how: { readonly sealed?: boolean } = {}): Promise<void> {
    this.#csp = await this.#startCspProcess('csp', this.cspState, () => this.#cspPort, how);
    this.#cspPort = await this.#ready('csp', this.#csp);
  }

  /** Start another CSP with a copy of the sealed keys, and wait until it listens. */
  async startCspReplica(): Promise<CspReplica> {
    const name = 'csp-2';
    const state = this.#path(name, 'state');
    const copying = this.#supervise(name, () => ({
      programme: require.resolve('@duoveil/csp/main'),
      arguments: ['replicate', '--state', this.cspState, '--to', state],
    }));
    await copying.finished;
    let port = 0;
    const party = await this.#startCspProcess(name, state, () => port);
    port = await this.#ready(name, party);
    const replica = { party, address: `${HOST}:${String(port)}`, state };
    this.#replicas.push(replica);
    return replica;
  }

  async #startCspProcess(
    name: string,
    state: string,
    port: () => number,
    how: { readonly sealed?: boolean } = {},
  ): Promise<Supervised> {
    const tls = await this.issue(name, { trustDomain: defaultTrustDomain, role: 'csp' });
    return this.#start(name, '@duoveil/csp/main', port, {
      arguments: [
        ...['--tls', tls],
        ...['--state', state],
        ...(this.#options.defaultBudgets === true ? [] : NO_BUDGETS),
      ],
      environment: how.sealed === true ? {} : { DUOVEIL_PASSPHRASE: this.#passphrase },
    });
  }

  /**
   * Start the SP and wait until it listens.
   * @param csp where it finds its CSP, if not at the one that was started here; several, by commas
   */
  async startSp(csp = this.cspAddress): Promise<void> {
    this.#sp = await this.#startProvider('sp', csp, () => this.#spPort);
    this.#spPort = await this.#ready('sp', this.#sp);
  }

  /** Start another SP on the same PostgreSQL, and wait until it listens. */
  async startReplica(csp = this.cspAddress): Promise<Replica> {
    const name = `sp-${String(this.#replicas.length + 2)}`;
    let port = 0;
    const party = await this.#startProvider(name, csp, () => port);
    port = await this.#ready(name, party);
    const replica = { party, address: `${HOST}:${String(port)}` };
    this.#replicas.push(replica);
    return replica;
  }

  /**
   * Start an SP for another generation of keys, with a database of its own, and wait until it listens.
   * @param digest of that generation's parameters
   */
  async startSuccessor(digest: ParametersDigest, csp = this.cspAddress): Promise<Successor> {
    const name = `sp-${String(this.#replicas.length + 2)}`;
    const database = this.#path(name, 'sp.db');
    let port = 0;
    const own = { digest, ...storeIn(database) };
    const party = await this.#startProvider(name, csp, () => port, own);
    port = await this.#ready(name, party);
    const successor = { party, address: `${HOST}:${String(port)}`, database };
    this.#replicas.push(successor);
    return successor;
  }

  async #startProvider(
    name: string,
    csp: string,
    port: () => number,
    store = { digest: this.digest, ...this.#store },
  ): Promise<Supervised> {
    const tls = await this.issue(name, { trustDomain: defaultTrustDomain, role: 'sp' });
    const { digest, options, environment } = store;
    return this.#start(name, '@duoveil/service-provider/main', port, {
      arguments: [...['--tls', tls], ...['--csp', csp], '--parameters-digest', digest, ...options],
      environment,
    });
  }

  /** Where the SP and its replicas keep their things. */
  get #store(): StoreArguments {
    const { databaseUrl } = this.#options;
    if (databaseUrl === undefined) return storeIn(this.spDatabase);
    const options = ['--database-url', databaseUrl];
    return { options, environment: { DUOVEIL_STORE_KEY: this.#storeKey } };
  }

  /** Make a new generation of keys at the CSP, as a custodian does; the digest of its parameters. */
  async rotate(): Promise<ParametersDigest> {
    const tls = await (this.#custodian ??= this.#loadCustodian());
    const connection = connect({ address: this.cspAddress, tls, expectRole: 'csp' });
    try {
      const { custody } = await callUnary(connection, CustodyServiceService.rotate, {}, SOON);
      const bytes = custody?.generations.at(-1)?.parametersDigest ?? Buffer.alloc(0);
      return parseParametersDigest(bytes.toString('hex'), 'csp rotate');
    } finally {
      connection.close();
    }
  }

  async #loadCustodian(): Promise<Tls> {
    const who = { trustDomain: defaultTrustDomain, role: 'custodian', name: CUSTODIAN } as const;
    return loadTls(credentialFiles(await this.issue('custodian', who)));
  }

  /** Issue a gateway's certificate; its directory. */
  async issueGateway(patient: PatientId): Promise<string> {
    const identity: Identity = { trustDomain: defaultTrustDomain, role: 'gateway', patient };
    return this.issue(`gateway-${patient}`, identity);
  }

  /** Issue a certificate into a party's directory; that directory. */
  async issue(party: string, identity: Identity): Promise<string> {
    const credentials = await issueCertificate(this.#authority, {
      identity,
      hosts: [HOST],
      days: 30,
      now: new Date(),
    });
    const directory = this.#path(party, 'tls');
    await writeCredentials(directory, credentials);
    return directory;
  }

  /** Stop whatever was started, for good. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#sp?.stop();
    await Promise.all(this.#replicas.map(({ party }) => party.stop()));
    await this.#csp?.stop();
    await this.#setUp?.stop();
  }

  #path(...parts: string[]): string {
    return join(this.#options.directory, ...parts);
  }

  #start(
    name: string,
    programme: string,
    port: () => number,
    how: { readonly arguments: readonly string[]; readonly environment?: Record<string, string> },
  ): Supervised {
    return this.#supervise(name, () => ({
      programme: require.resolve(programme),
      arguments: [
        'serve',
        ...['--listen', `${HOST}:${String(port())}`],
        ...['--port-file', this.#path(`${name}.port`)],
        ...['--log-level', this.#options.logLevel],
        ...engineArguments(this.#options.engine),
        '--insecure-key-bits',
        ...(this.#options.allowDistance ? ['--allow-distance'] : []),
        ...how.arguments,
      ],
      environment: { ...this.#options.environment, ...how.environment },
      onLog: this.#options.onLog,
    }));
  }

  #supervise(name: string, options: (restart: number) => ChildOptions): Supervised {
    if (this.#stopped) throw duoveilError('NOT_READY', 'the servers are stopped');
    return new Supervised(name, options, ({ signal }) => {
      this.#options.onLog(`duoveil: the ${name} was ended by ${String(signal)} and is restarted`);
    });
  }

  async #ready(name: string, party: Supervised): Promise<number> {
    const file = this.#path(`${name}.port`);
    const failed = party.finished.then(() => {
      throw duoveilError('PEER_UNAVAILABLE', `the ${name} ended before it was ready`, {
        peer: name,
      });
    });
    const listens = async (): Promise<number> => {
      for (let waitedMs = 0; waitedMs < READY_MS; waitedMs += 50) {
        const text = await readFile(file, 'utf8').catch(() => '');
        if (text !== '') return Number(text);
        await sleep(50);
      }
      throw duoveilError('DEADLINE_EXCEEDED', `the ${name} did not get ready`, { peer: name });
    };
    try {
      return await Promise.race([listens(), failed]);
    } finally {
      await rm(file, { force: true });
    }
  }
}
