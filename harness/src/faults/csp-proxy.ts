import type { ParametersDigest } from '@duoveil/common/bcp';
import {
  callUnary,
  connect,
  silentLogger,
  startServer,
  unary,
  type Connection,
  type RunningServer,
  type Service,
  type Tls,
} from '@duoveil/common/runtime';

import { isUnary, methodName, RAW_SERVICES, rawMethod, type Definition } from './raw-calls.js';

/** A call on its way from a service provider to the CSP. */
export interface PassingCall {
  /** The method's name: `Subtract`, `RegisterKey`, .. */
  readonly method: string;
  /** How many calls there have been, this one included. */
  readonly number: number;
  /** The message's bytes. */
  readonly request: Buffer;
  /** Aborted when the caller does not wait any more, or the proxy vanishes. */
  readonly signal: AbortSignal;
  /** Asks the CSP behind. */
  pass(): Promise<Buffer>;
}

/** What becomes of a call: its answer, or an error. */
export type Meddling = (call: PassingCall) => Promise<Buffer>;

/** How a proxy is known, and whom it asks. */
export interface CspProxyOptions {
  /** The CSP behind; it need not be there yet. */
  readonly address: string;
  /** What the proxy shows to service providers: a CSP's certificate. */
  readonly asCsp: Tls;
  /** What it shows to the CSP: a service provider's. */
  readonly asSp: Tls;
  /** The generation of keys that all calls are for; the oldest unless given. */
  readonly parametersDigest?: ParametersDigest;
}

/**
 * Stands between a service provider and its CSP, and does to each call as it is told: see it, delay
 * it, swallow it, change its answer. It takes the bytes as they are.
 */
export class CspProxy {
  /** What is done to each call; passed on, unless told otherwise. */
  meddle: Meddling = (call) => call.pass();
  readonly #options: CspProxyOptions;
  readonly #services: readonly Service[];
  #behind: Connection | undefined;
  #server: RunningServer | undefined;
  #port = 0;
  #calls = 0;

  constructor(options: CspProxyOptions) {
    this.#options = options;
    this.#services = RAW_SERVICES.filter(isUnary).map((definition) => this.#service(definition));
  }

  /** Where service providers connect to; known from the first {@link start} on. */
  get address(): string {
    return `127.0.0.1:${String(this.#port)}`;
  }

  /** Listens, on the same port each time. */
  async start(): Promise<void> {
    const { address, asSp, parametersDigest } = this.#options;
    this.#behind = connect({
      ...{ address, tls: asSp, expectRole: 'csp' },
      ...(parametersDigest !== undefined && { parametersDigest }),
    });
    this.#server = await startServer({
      listen: this.address,
      tls: this.#options.asCsp,
      services: this.#services,
      logger: silentLogger(),
      unaryTimeoutMs: 600_000,
    });
    this.#port = this.#server.port;
  }

  /** Vanishes: calls in progress end without an answer. */
  async stop(): Promise<void> {
    this.#behind?.close();
    await this.#server?.drain(0);
    this.#server = undefined;
  }

  #service(definition: Definition): Service {
    return {
      definition,
      methods: Object.fromEntries(
        Object.entries(definition).map(([name, { path }]) => [
          name,
          unary<unknown, unknown>({ roles: ['sp'] }, (request, { signal }) => {
            const bytes = request as Buffer;
            this.#calls += 1;
            return this.meddle({
              method: methodName(path),
              number: this.#calls,
              request: bytes,
              signal,
              pass: () => this.#pass(path, bytes, signal),
            });
          }),
        ]),
      ),
    };
  }

  #pass(path: string, request: Buffer, signal: AbortSignal): Promise<Buffer> {
    if (this.#behind === undefined) throw new Error('the proxy is not started');
    const method = rawMethod(path, false, false);
    return callUnary(this.#behind, method, request, { deadlineMs: 60_000, signal });
  }
}
