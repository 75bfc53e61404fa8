import {
  bidi,
  callBidi,
  callServerStream,
  callUnary,
  connect,
  serverStream,
  silentLogger,
  startServer,
  unary,
  type CallContext,
  type Connection,
  type PatientId,
  type RunningServer,
  type Service,
  type Tls,
} from '@duoveil/common/runtime';

import { methodName, RAW_SERVICES, rawMethod, type Definition } from './raw-calls.js';

type AnyCall = Definition[string];

/** A message on its way between a gateway and its service provider. */
export interface PassingMessage {
  /** The method's name: `Enrol`, `Ingest`, .. */
  readonly method: string;
  readonly direction: 'request' | 'response';
  /** Its place among the messages of its call and direction, from 0. */
  readonly position: number;
  readonly bytes: Buffer;
  /** Aborted when the call is over. */
  readonly signal: AbortSignal;
  /** Of a call with streams both ways: sends a message to the gateway, out of turn. */
  readonly answer?: (response: Buffer) => Promise<void>;
}

/**
 * What becomes of a message: the messages that are passed on in its place, in order. Where it
 * throws, the call ends with that error at the gateway, and is cancelled at the service provider.
 */
export type MessageMeddling = (message: PassingMessage) => Promise<readonly Buffer[]>;

/** A patient's gateway, as the proxy knows it. */
export interface Guest {
  /** What the proxy shows to the service provider in the gateway's name. */
  readonly tls: Tls;
  readonly meddle: MessageMeddling;
}

/** How a proxy is known, and whom it asks. */
export interface SpProxyOptions {
  /** The service provider behind; it need not be there yet. */
  readonly address: string;
  /** What the proxy shows to gateways: a service provider's certificate. */
  readonly asSp: Tls;
}

/**
 * Stands between gateways and their service provider, and does to each message of a patient's calls
 * as it is told. It takes the bytes as they are.
 */
export class SpProxy {
  readonly #options: SpProxyOptions;
  readonly #guests = new Map<PatientId, { readonly guest: Guest; readonly behind: Connection }>();
  #server: RunningServer | undefined;

  constructor(options: SpProxyOptions) {
    this.#options = options;
  }

  /** Where gateways connect to. */
  get address(): string {
    if (this.#server === undefined) throw new Error('the proxy is not started');
    return this.#server.address;
  }

  /** Listens. */
  async start(): Promise<void> {
    this.#server = await startServer({
      listen: '127.0.0.1:0',
      tls: this.#options.asSp,
      services: RAW_SERVICES.map((definition) => this.#service(definition)),
      logger: silentLogger(),
      unaryTimeoutMs: 600_000,
    });
  }

  /** Vanishes: calls in progress end without an answer. */
  async stop(): Promise<void> {
    for (const patient of [...this.#guests.keys()]) this.dismiss(patient);
    await this.#server?.drain(0);
  }

  /** From now on this patient's calls are passed on. */
  admit(patient: PatientId, guest: Guest): void {
    const { address } = this.#options;
    const behind = connect({ address, tls: guest.tls, expectRole: 'sp' });
    this.#guests.set(patient, { guest, behind });
  }

  /** No longer. */
  dismiss(patient: PatientId): void {
    this.#guests.get(patient)?.behind.close();
    this.#guests.delete(patient);
  }

  #of({ identity }: CallContext): { readonly guest: Guest; readonly behind: Connection } {
    const found = identity.role === 'gateway' ? this.#guests.get(identity.patient) : undefined;
    if (found === undefined) throw new Error('the proxy was not told of this patient');
    return found;
  }

  #service(definition: Definition): Service {
    const methods = Object.entries(definition).map(([name, call]) => [name, this.#method(call)]);
    return { definition, methods: Object.fromEntries(methods) as Service['methods'] };
  }

  #method(call: AnyCall): Service['methods'][string] {
    const roles = { roles: ['gateway'] } as const;
    if (call.requestStream && call.responseStream) {
      return bidi<unknown, unknown>(roles, (requests, send, context) =>
        this.#bidi(call, requests as AsyncIterable<Buffer>, send, context),
      );
    }
    if (call.responseStream) {
      return serverStream<unknown, unknown>(roles, (request, context) =>
        this.#serverStream(call, request as Buffer, context),
      );
    }
    return unary<unknown, unknown>(roles, (request, context) =>
      this.#unary(call, request as Buffer, context),
    );
  }

  async #unary({ path }: AnyCall, request: Buffer, context: CallContext): Promise<Buffer> {
    const { guest, behind } = this.#of(context);
    const passing = { method: methodName(path), position: 0, signal: context.signal };
    const method = rawMethod(path, false, false);
    const options = { deadlineMs: 60_000, signal: context.signal };
    let answer: Buffer | undefined;
    for (const bytes of await guest.meddle({ ...passing, direction: 'request', bytes: request })) {
      answer = await callUnary(behind, method, bytes, options);
    }
    if (answer === undefined) throw new Error('a request was swallowed without an error');
    const answers = await guest.meddle({ ...passing, direction: 'response', bytes: answer });
    return answers.at(-1) ?? answer;
  }

  async *#serverStream(
    { path }: AnyCall,
    request: Buffer,
    { signal, ...context }: CallContext,
  ): AsyncGenerator<Buffer, void> {
    const { guest, behind } = this.#of({ signal, ...context });
    const method = methodName(path);
    const first = { method, direction: 'request', position: 0, bytes: request, signal } as const;
    const [passed = request] = await guest.meddle(first);
    let position = 0;
    const raw = rawMethod(path, false, true);
    for await (const bytes of callServerStream(behind, raw, passed, { signal })) {
      const message = { method, direction: 'response', position, bytes, signal } as const;
      position += 1;
      yield* await guest.meddle(message);
    }
  }

  async #bidi(
    { path }: AnyCall,
    requests: AsyncIterable<Buffer>,
    send: (response: Buffer) => Promise<void>,
    context: CallContext,
  ): Promise<void> {
    const { guest, behind } = this.#of(context);
    const over = new AbortController();
    const signal = AbortSignal.any([context.signal, over.signal]);
    const call = callBidi(behind, rawMethod(path, true, true), { signal });
    const method = methodName(path);
    const pass = async (
      direction: PassingMessage['direction'],
      messages: AsyncIterable<Buffer>,
      to: (bytes: Buffer) => Promise<void>,
    ): Promise<void> => {
      let position = 0;
      for await (const bytes of messages) {
        const message = { method, direction, position, bytes, signal, answer: send };
        position += 1;
        for (const one of await guest.meddle(message)) await to(one);
      }
    };
    // That the call has failed shows in its responses, with the reason.
    const up = pass('request', requests, (bytes) => call.send(bytes).catch(() => undefined));
    const down = pass('response', call.responses, send);
    try {
      await new Promise<void>((resolve, reject) => {
        down.then(resolve, reject);
        up.then(() => {
          call.end();
        }, reject);
      });
    } finally {
      over.abort(new Error('the call is over'));
    }
  }
}
