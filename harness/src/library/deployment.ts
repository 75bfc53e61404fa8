/** A whole deployment for tests: both servers as processes, gateways as objects, faults in between. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { EngineChoice } from '@duoveil/common/modular';
import {
  credentialFiles,
  defaultTrustDomain,
  loadTls,
  parsePatientId,
  type LogLevel,
} from '@duoveil/common/runtime';
import {
  connect,
  type ConnectOptions,
  type EnrolmentOptions,
  type Gateway,
} from '@duoveil/gateway';

import { CspProxy } from '../faults/csp-proxy.js';
import { SpProxy } from '../faults/sp-proxy.js';
import { Servers } from '../parties/servers.js';
import { Link } from './link.js';
import { Server } from './server.js';

/** What a deployment is to be, where not as usual. */
export interface DeploymentOptions {
  /** Length of the modulus, a multiple of 64; by default 512, which is quick and protects nothing. */
  readonly keyBits?: number | undefined;
  /** May the service provider learn distances? By default no. */
  readonly allowDistance?: boolean | undefined;
  /** The servers' arithmetic; by default native where it is built, else portable. */
  readonly engine?: EngineChoice | undefined;
  /** How much the servers log; by default `warn`. */
  readonly logLevel?: LogLevel | undefined;
  /** Called with each line that a server logs. */
  readonly onLog?: ((line: string) => void) | undefined;
}

/** How a patient is monitored; the digest to pin is the deployment's own. */
export type PatientOptions = Omit<EnrolmentOptions, 'parametersDigest' | 'insecureKeyBits'>;

/** How a gateway is opened; where its things are is the deployment's business. */
export type GatewayOptions = Omit<
  ConnectOptions,
  'sp' | 'tls' | 'state' | 'keyFile' | 'passphrase'
>;

/**
 * Starts a CSP and a service provider on free ports, with keys, certificates and state of their own in
 * a temporary directory. Takes a few seconds.
 * @throws PEER_UNAVAILABLE, DEADLINE_EXCEEDED where a server does not come up
 */
export async function startDeployment(options: DeploymentOptions = {}): Promise<Deployment> {
  const directory = await mkdtemp(join(tmpdir(), 'duoveil-deployment-'));
  const servers = await Servers.prepare({
    directory,
    keyBits: options.keyBits ?? 512,
    generator: 'residue',
    engine: options.engine ?? 'auto',
    allowDistance: options.allowDistance ?? false,
    logLevel: options.logLevel ?? 'warn',
    onLog: options.onLog ?? (() => undefined),
  });
  const links = { gateways: new Link('sp'), servers: new Link('csp') };
  try {
    await servers.setUp();
    await servers.startCsp();
    const cspProxy = await startCspProxy(servers, links.servers);
    await servers.startSp(cspProxy.address);
    const spProxy = await startSpProxy(servers);
    return new Deployment({ directory, servers, cspProxy, spProxy, links });
  } catch (error) {
    await servers.stop();
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

async function startCspProxy(servers: Servers, link: Link): Promise<CspProxy> {
  const trustDomain = defaultTrustDomain;
  const asCsp = await servers.issue('link-csp', { trustDomain, role: 'csp' });
  const asSp = await servers.issue('link-csp-sp', { trustDomain, role: 'sp' });
  const proxy = new CspProxy({
    address: servers.cspAddress,
    asCsp: await loadTls(credentialFiles(asCsp)),
    asSp: await loadTls(credentialFiles(asSp)),
  });
  proxy.meddle = async (call) => {
    const { method, signal } = call;
    await link.pass(method, 'request', signal);
    const answer = await call.pass();
    await link.pass(method, 'response', signal);
    return answer;
  };
  await proxy.start();
  return proxy;
}

async function startSpProxy(servers: Servers): Promise<SpProxy> {
  const asSp = await servers.issue('link-sp', { trustDomain: defaultTrustDomain, role: 'sp' });
  const proxy = new SpProxy({
    address: servers.address,
    asSp: await loadTls(credentialFiles(asSp)),
  });
  await proxy.start();
  return proxy;
}

/** What a deployment consists of. */
interface Parts {
  readonly directory: string;
  readonly servers: Servers;
  readonly cspProxy: CspProxy;
  readonly spProxy: SpProxy;
  readonly links: { readonly gateways: Link; readonly servers: Link };
}

/** A running deployment. Made by {@link startDeployment}; stop it, or declare it with `await using`. */
export class Deployment implements AsyncDisposable {
  /** The crypto service provider's process. */
  readonly csp: Server;
  /** The service provider's process. */
  readonly sp: Server;
  /** Between gateways and the service provider. */
  readonly gatewayLink: Link;
  /** Between the service provider and the CSP. */
  readonly serverLink: Link;
  readonly #parts: Parts;
  readonly #gateways = new Set<Gateway>();
  #stopping: Promise<void> | undefined;

  /** @internal */
  constructor(parts: Parts) {
    const { servers, cspProxy, links } = parts;
    this.#parts = parts;
    this.gatewayLink = links.gateways;
    this.serverLink = links.servers;
    this.csp = new Server(
      () => servers.csp,
      () => servers.startCsp(),
    );
    this.sp = new Server(
      () => servers.sp,
      () => servers.startSp(cspProxy.address),
    );
  }

  /** Everything that the parties keep; removed in the end. */
  get directory(): string {
    return this.#parts.directory;
  }

  /** The digest of the public parameters, to pin. */
  get parametersDigest(): string {
    return this.#parts.servers.digest;
  }

  /** Where gateways connect to. */
  get address(): string {
    return this.#parts.spProxy.address;
  }

  /**
   * Issues a patient's certificate, opens the patient's gateway and enrols the patient.
   * @param name 1 to 64 letters, digits, `-`, `_` or `.`
   * @throws as `Gateway.enrol`; CONFIG_INVALID for a name that is none
   */
  async enrol(
    name: string,
    patient: PatientOptions = {},
    options: GatewayOptions = {},
  ): Promise<Gateway> {
    const { servers, spProxy, links } = this.#parts;
    const id = parsePatientId(name, 'name');
    const tls = await servers.issueGateway(id);
    await writeFile(this.#keyFile(name), randomBytes(32), { mode: 0o600 });
    spProxy.admit(id, {
      tls: await loadTls(credentialFiles(tls)),
      meddle: async ({ method, direction, signal, bytes }) => {
        await links.gateways.pass(method, direction, signal);
        return [bytes];
      },
    });
    const gateway = await this.connect(name, options);
    const { parametersDigest } = this;
    await gateway.enrol({ ...patient, parametersDigest, insecureKeyBits: true });
    return gateway;
  }

  /**
   * Opens the gateway of a patient who is enrolled, after the one before was closed: with the same
   * certificate and state, as after a restart of the device.
   */
  async connect(name: string, options: GatewayOptions = {}): Promise<Gateway> {
    const gateway = await connect({
      ...options,
      sp: this.address,
      tls: join(this.directory, `gateway-${name}`, 'tls'),
      state: join(this.directory, `gateway-${name}`, 'state'),
      keyFile: this.#keyFile(name),
    });
    this.#gateways.add(gateway);
    return gateway;
  }

  /** Closes all gateways, stops both servers, and removes everything. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** As {@link Deployment.stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #stop(): Promise<void> {
    const { directory, servers, spProxy, cspProxy } = this.#parts;
    await Promise.allSettled([...this.#gateways].map((gateway) => gateway.close()));
    await spProxy.stop();
    await servers.stop();
    await cspProxy.stop();
    await rm(directory, { recursive: true, force: true });
  }

  #keyFile(name: string): string {
    return join(this.directory, `gateway-${name}`, 'sealing.key');
  }
}
