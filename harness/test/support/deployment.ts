/** A CSP and an SP as processes, and whoever wants to talk to them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Bcp, type GeneratorFamily, type PublicParameters } from '@duoveil/common/bcp';
import type { MasterKey } from '@duoveil/common/master';
import {
  callUnary,
  connect,
  createAuthority,
  defaultTrustDomain,
  issueCertificate,
  parsePatientId,
  tlsFromCredentials,
} from '@duoveil/common/runtime';
import type {
  Authority,
  Connection,
  Identity,
  LogLevel,
  PatientId,
  Role,
  Tls,
} from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { CustodyServiceService } from '@duoveil/proto';

import { CspProxy } from '../../src/faults/csp-proxy.js';
import { testEngine } from '../../src/local/engine.js';
import { Servers } from '../../src/parties/servers.js';
import { loadMasterKey } from './custody.js';

/** For what is computed in the test itself. */
export const engine = testEngine();

/** The patient of most tests. */
export const PATIENT = parsePatientId('patient-1', 'patient');

/** An identity of a role, with a name where it needs one. */
export function identity(role: Role, name: PatientId = PATIENT): Identity {
  const trustDomain = defaultTrustDomain;
  if (role === 'csp' || role === 'sp') return { trustDomain, role };
  return role === 'gateway' ? { trustDomain, role, patient: name } : { trustDomain, role, name };
}

/** How a certificate is to be, where not as usual. */
export interface CertificateOptions {
  readonly authority?: Authority;
  /** From when on it is valid, for a day. */
  readonly now?: Date;
}

/** What a deployment is to be, where not as usual. */
export interface DeploymentOptions {
  readonly family?: GeneratorFamily;
  readonly logLevel?: LogLevel;
  /** A PostgreSQL for the SP and its replicas. */
  readonly databaseUrl?: string;
  /** Added to the environment of both. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** See the file's comment. */
export class Deployment {
  readonly directory: string;
  readonly servers: Servers;
  readonly authority: Authority;
  readonly passphrase: string;
  /** Everything that both servers have logged so far. */
  readonly log: readonly string[];
  readonly #waiting: Set<() => void>;
  readonly #connections: Connection[] = [];
  #masterKey: MasterKey | undefined;
  #proxy: CspProxy | undefined;

  private constructor(
    directory: string,
    servers: Servers,
    authority: Authority,
    passphrase: string,
    log: readonly string[],
    waiting: Set<() => void>,
  ) {
    this.directory = directory;
    this.servers = servers;
    this.authority = authority;
    this.passphrase = passphrase;
    this.log = log;
    this.#waiting = waiting;
  }

  /** Set up with 512 bits; nothing is started yet. */
  static async prepare(options: DeploymentOptions = {}): Promise<Deployment> {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-test-'));
    // Valid long enough for certificates that are not valid any more, or not yet.
    const authority = await createAuthority({
      commonName: 'test authority',
      days: 20,
      now: new Date(Date.now() - 10 * 86_400_000),
    });
    const passphrase = 'a passphrase of the tests, for nobody to see';
    const log: string[] = [];
    const waiting = new Set<() => void>();
    const servers = await Servers.prepare({
      directory,
      keyBits: 512,
      generator: options.family ?? 'residue',
      engine: 'auto',
      allowDistance: true,
      logLevel: options.logLevel ?? 'info',
      authority,
      passphrase,
      ...(options.databaseUrl !== undefined && { databaseUrl: options.databaseUrl }),
      ...(options.environment !== undefined && { environment: options.environment }),
      onLog: (line) => {
        log.push(line);
        for (const look of [...waiting]) look();
      },
    });
    await servers.setUp();
    return new Deployment(directory, servers, authority, passphrase, log, waiting);
  }

  /** Set up with 512 bits, and start both. */
  static async start(options: DeploymentOptions = {}): Promise<Deployment> {
    const deployment = await Deployment.prepare(options);
    await deployment.servers.startCsp();
    await deployment.servers.startSp();
    return deployment;
  }

  /**
   * Start the CSP, and a proxy before it that an SP may be given in its place; the proxy is stopped with
   * the rest.
   */
  async startCspBehindProxy(): Promise<CspProxy> {
    await this.servers.startCsp();
    this.#proxy = new CspProxy({
      address: this.servers.cspAddress,
      asCsp: await this.tls(identity('csp')),
      asSp: await this.tls(identity('sp')),
    });
    await this.#proxy.start();
    return this.#proxy;
  }

  /** The CSP's master key, unsealed. */
  async masterKey(): Promise<MasterKey> {
    const secret = { kind: 'passphrase', passphrase: new Secret(this.passphrase) } as const;
    this.#masterKey ??= await loadMasterKey(this.servers.cspState, secret, engine);
    return this.#masterKey;
  }

  async parameters(): Promise<PublicParameters> {
    return (await this.masterKey()).parameters;
  }

  async bcp(): Promise<Bcp> {
    return new Bcp(await this.parameters(), engine);
  }

  /** What a party shows of itself. */
  async tls(who: Identity, { authority, now }: CertificateOptions = {}): Promise<Tls> {
    const issued = await issueCertificate(authority ?? this.authority, {
      identity: who,
      hosts: ['127.0.0.1'],
      days: 1,
      now: now ?? new Date(),
    });
    const clock = { now: () => now ?? new Date(), monotonicMs: () => 0 };
    return tlsFromCredentials(issued, clock);
  }

  /** A connection to one of the two, as a party. */
  async connect(
    to: 'csp' | 'sp',
    who: Identity,
    options: CertificateOptions & { readonly ca?: Buffer } = {},
  ): Promise<Connection> {
    const tls = await this.tls(who, options);
    const address = to === 'sp' ? this.servers.address : this.servers.cspAddress;
    return this.connectWith(
      to,
      address,
      options.ca === undefined ? tls : { ...tls, ca: options.ca },
    );
  }

  /** The same with credentials and an address of one's own. */
  connectWith(expectRole: 'csp' | 'sp', address: string, tls: Tls): Connection {
    const connection = connect({ address, tls, expectRole });
    this.#connections.push(connection);
    return connection;
  }

  /** Unseal the CSP, as a custodian does. */
  async unseal(): Promise<void> {
    const connection = await this.connect('csp', identity('custodian'));
    const offer = { $case: 'passphrase', value: this.passphrase } as const;
    await callUnary(connection, CustodyServiceService.unseal, { offer }, { deadlineMs: 60_000 });
  }

  /** Waits until a server has logged something, from a line number on. */
  logged(pattern: RegExp, from = 0): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!this.log.slice(from).some((line) => pattern.test(line))) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Stop everything and remove it. */
  async close(): Promise<void> {
    for (const connection of this.#connections) connection.close();
    await this.#proxy?.stop();
    await this.servers.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}
