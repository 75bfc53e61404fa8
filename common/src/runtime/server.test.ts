import http2 from 'node:http2';

import {
  IngestServiceService,
  MonitoringServiceService,
  ParametersServiceService,
} from '@duoveil/proto';
import type {
  GetParametersResponse,
  IngestRequest,
  IngestResponse,
  WatchResponse,
} from '@duoveil/proto';
import { service as healthDefinition } from 'grpc-health-check';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { duoveilError } from '../errors.js';
import type { CallContext } from './call-context.js';
import type { Authority } from './certificates.js';
import { callBidi, callServerStream, callUnary } from './client.js';
import type { ClientMethod, Connection } from './client.js';
import { systemSleep } from './clock.js';
import { authority, identity, issue, lineCollector, Loopback } from './fixture.js';
import { createLogger } from './logging.js';
import type { BidiHandler, Service, UnaryOptions } from './service.js';
import { bidi, implement, serverStream, unary } from './service.js';
import type { Tls } from './tls.js';

const { getParameters } = ParametersServiceService;
const { watch } = MonitoringServiceService;
const { ingest } = IngestServiceService;
const healthCheck = healthDefinition['Check'] as unknown as ClientMethod<
  { service: string },
  { status: string },
  false,
  false
>;
const soon = { deadlineMs: 5000 };
const response: GetParametersResponse = { parameters: undefined };

/** Reads a stream to its end. */
async function drainAll(requests: AsyncIterable<unknown>): Promise<void> {
  const iterator = requests[Symbol.asyncIterator]();
  while ((await iterator.next()).done !== true);
}

/** One service whose only method does this. */
const answering = (
  handle: (context: CallContext) => Promise<GetParametersResponse>,
  options: Partial<UnaryOptions> = {},
): Service =>
  implement(ParametersServiceService, {
    getParameters: unary({ roles: ['gateway'], ...options }, (_request, context) =>
      handle(context),
    ),
  });
const watching = (
  handle: (from: bigint, context: CallContext) => AsyncGenerator<WatchResponse, void>,
): Service =>
  implement(MonitoringServiceService, {
    watch: serverStream({ roles: ['gateway', 'operator'] }, ({ fromSequence }, context) =>
      handle(fromSequence, context),
    ),
  });
const trained = (model: number, size = 0): WatchResponse => ({
  event: {
    $case: 'trained',
    value: { model, throughSequence: BigInt(size), trainMs: 0 },
  },
});

describe('a server', () => {
  const loopback = new Loopback();
  let ours: Authority;
  let sp: Tls;
  let gateway: Tls;

  beforeAll(async () => {
    ours = await authority();
    sp = await issue(ours, identity('sp'));
    gateway = await issue(ours, identity('gateway/p1'));
  });
  afterEach(() => loopback.close());

  const connectTo = async (
    service: Service,
    options: Parameters<Loopback['serve']>[2] = {},
  ): Promise<Connection> => {
    const { address } = await loopback.serve(sp, [service], options);
    return loopback.connect(address, gateway);
  };

  it("gives handlers the caller's identity", async () => {
    const seen = vi.fn();
    const connection = await connectTo(
      answering(async ({ identity: caller, requestId }) => {
        seen(caller, requestId);
        return Promise.resolve(response);
      }),
    );
    await callUnary(connection, getParameters, {}, soon);
    expect(seen).toHaveBeenCalledWith(
      { trustDomain: 'test.internal', role: 'gateway', patient: 'p1' },
      expect.stringMatching(/^[0-9a-f]{16}$/),
    );
  });

  it('refuses other roles and strangers without calling the handler', async () => {
    const handle = vi.fn(() => Promise.resolve(response));
    const { address } = await loopback.serve(sp, [answering(handle)]);
    const operator = loopback.connect(address, await issue(ours, identity('operator/ann')));
    await expect(callUnary(operator, getParameters, {}, soon)).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message:
        'spiffe://test.internal/operator/ann may not call ' +
        '/duoveil.v1.ParametersService/GetParameters: it is for gateway',
    });
    const stranger = await issue(ours, identity('gateway/p1', 'elsewhere'));
    // The client's own check of the server would stop it first.
    const bold = loopback.connect(address, { ...stranger, identity: gateway.identity });
    await expect(callUnary(bold, getParameters, {}, soon)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    await expect(callUnary(bold, healthCheck, { service: '' }, soon)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    expect(handle).not.toHaveBeenCalled();
  });

  it('carries code, message and details of an error across', async () => {
    const connection = await connectTo(
      answering(() => {
        throw duoveilError('SEQUENCE_GAP', 'expected sample 7 – “here”\n', { expected: 7n });
      }),
    );
    await expect(callUnary(connection, getParameters, {}, soon)).rejects.toMatchObject({
      code: 'SEQUENCE_GAP',
      message: 'expected sample 7 – “here” ',
      details: { expected: 7n },
    });
  });

  it('keeps the cause of an internal error to its own log', async () => {
    const log = lineCollector();
    const connection = await connectTo(
      answering(() => Promise.reject(new TypeError('the-cause'))),
      { logger: createLogger({ service: 'sp', stream: log.stream }) },
    );
    const error: unknown = await callUnary(connection, getParameters, {}, soon).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('an internal error occurred') as unknown,
    });
    expect(JSON.stringify(error) + String(error)).not.toContain('the-cause');
    const logged = log.lines.find((line) => line.includes('call failed'));
    expect(JSON.parse(logged ?? '')).toMatchObject({
      level: 'error',
      caller: 'spiffe://test.internal/gateway/p1',
      error: { code: 'INTERNAL', cause: { name: 'TypeError', message: 'the-cause' } },
    });
  });

  it('refuses a message beyond the limit, in either direction', async () => {
    const large = {
      parameters: {
        version: 1,
        family: 1,
        modulus: Buffer.alloc(2000),
        generator: Buffer.alloc(0),
      },
    };
    const connection = await connectTo(
      answering(() => Promise.resolve(large)),
      { maxMessageBytes: 1000 },
    );
    await expect(callUnary(connection, getParameters, {}, soon)).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    });
    const call = callBidi(
      await connectTo(
        implement(IngestServiceService, {
          ingest: bidi({ roles: ['gateway'] }, async (requests) => {
            await drainAll(requests);
          }),
        }),
        { maxMessageBytes: 1000 },
      ),
      ingest,
    );
    await call.send({
      message: {
        $case: 'open',
        value: { patientId: 'p1', parametersDigest: Buffer.alloc(2000) },
      },
    });
    await expect(call.responses.next()).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
  });

  it("aborts the handler at the client's deadline, at its own, and when the client cancels", async () => {
    const aborted = vi.fn();
    const waiting = (options: Partial<UnaryOptions> = {}): Service =>
      answering(async ({ signal }) => {
        await systemSleep(60_000, signal).catch(aborted);
        return response;
      }, options);
    const connection = await connectTo(waiting());
    await expect(
      callUnary(connection, getParameters, {}, { deadlineMs: 50 }),
    ).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { peer: connection.peer },
    });
    await vi.waitFor(() => {
      expect(aborted).toHaveBeenCalledTimes(1);
    });

    const bounded = await connectTo(waiting({ timeoutMs: 50 }));
    await expect(callUnary(bounded, getParameters, {}, soon)).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: 'the call took more than 50 ms',
    });
    expect(aborted).toHaveBeenCalledTimes(2);

    const controller = new AbortController();
    const call = callUnary(connection, getParameters, {}, { ...soon, signal: controller.signal });
    setTimeout(() => {
      controller.abort(new Error('changed my mind'));
    }, 50);
    await expect(call).rejects.toThrow('changed my mind');
    await vi.waitFor(() => {
      expect(aborted).toHaveBeenCalledTimes(3);
    });
  });

  it('answers health checks of any role', async () => {
    const { address } = await loopback.serve(sp, [answering(() => Promise.resolve(response))]);
    const auditor = loopback.connect(address, await issue(ours, identity('auditor/bob')));
    for (const service of ['', 'duoveil.v1.ParametersService']) {
      await expect(callUnary(auditor, healthCheck, { service }, soon)).resolves.toEqual({
        status: 'SERVING',
      });
    }
  });

  it('says that it cannot listen', async () => {
    const { address } = await loopback.serve(sp, []);
    await expect(loopback.serve(sp, [], { listen: address })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `cannot listen on ${address}: the port is in use`,
    });
    await expect(loopback.serve(sp, [], { listen: 'localhost' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { path: 'listen' },
    });
  });

  describe('that goes down', () => {
    it('lets a running call finish and takes no new one', async () => {
      let finish = (): void => undefined;
      const entered = vi.fn();
      const server = await loopback.serve(sp, [
        answering(async () => {
          entered();
          await new Promise<void>((resolve) => {
            finish = resolve;
          });
          return response;
        }),
      ]);
      const call = callUnary(loopback.connect(server.address, gateway), getParameters, {}, soon);
      await vi.waitFor(() => {
        expect(entered).toHaveBeenCalled();
      });
      const drained = server.drain(5000);
      const late = callUnary(loopback.connect(server.address, gateway), getParameters, {}, soon);
      await expect(late).rejects.toMatchObject({ code: 'PEER_UNAVAILABLE' });
      finish();
      await expect(call).resolves.toEqual(response);
      await drained;
    });

    it('ends calls that outlast the grace', async () => {
      const entered = vi.fn();
      const server = await loopback.serve(sp, [
        answering(async ({ signal }) => {
          entered();
          await systemSleep(60_000, signal);
          return response;
        }),
      ]);
      const call = callUnary(loopback.connect(server.address, gateway), getParameters, {}, soon);
      const outcome = expect(call).rejects.toMatchObject({
        code: expect.stringMatching(/NOT_READY|PEER_UNAVAILABLE/) as unknown,
      });
      await vi.waitFor(() => {
        expect(entered).toHaveBeenCalled();
      });
      await server.drain(50);
      await outcome;
    });

    it('ends streams and health watches at once', async () => {
      const server = await loopback.serve(sp, [
        watching(async function* (_from, { signal }) {
          yield trained(1);
          await systemSleep(60_000, signal);
        }),
      ]);
      const connection = loopback.connect(server.address, gateway);
      const stream = callServerStream(connection, watch, { patientId: 'p1', fromSequence: 1n });
      const healthWatch = callServerStream(
        connection,
        healthDefinition['Watch'] as unknown as ClientMethod<
          { service: string },
          { status: string },
          false,
          true
        >,
        { service: '' },
      );
      await stream.next();
      expect((await healthWatch.next()).value).toEqual({ status: 'SERVING' });
      const drained = server.drain(60_000);
      await expect(stream.next()).rejects.toMatchObject({ code: 'NOT_READY' });
      expect((await healthWatch.next()).value).toEqual({ status: 'NOT_SERVING' });
      expect((await healthWatch.next()).done).toBe(true);
      await drained;
    });
  });

  describe('beside another one that stands in for it', () => {
    const named = (name: string, calls: string[]): Service =>
      answering(() => {
        calls.push(name);
        return Promise.resolve(response);
      });

    it('is used alone, for as long as it serves', async () => {
      const calls: string[] = [];
      const one = await loopback.serve(sp, [named('one', calls)]);
      const other = await loopback.serve(sp, [named('other', calls)]);
      const connection = loopback.connect([one.address, other.address], gateway);
      const call = () => callUnary(connection, getParameters, {}, soon);
      await call();
      await call();
      expect(calls).toEqual(['one', 'one']);

      await one.drain(0);
      // Many notice at once: it is left once, and not for its neighbour's neighbour.
      const noticed = await Promise.allSettled([call(), call(), call()]);
      expect(noticed.some(({ status }) => status === 'rejected')).toBe(true);
      await call();
      expect(calls.slice(2).every((name) => name === 'other')).toBe(true);
      expect(connection.peer).toBe(`sp at ${other.address}`);
      await other.drain(0);
      const nobody = { code: 'PEER_UNAVAILABLE', details: { peer: `sp at ${other.address}` } };
      await expect(call()).rejects.toMatchObject(nobody);
    });

    it.each(['CSP_SEALED', 'NOT_READY'] as const)('is left where it answers %s', async (code) => {
      const calls: string[] = [];
      const refusing = answering(() => Promise.reject(duoveilError(code, 'not now')));
      const one = await loopback.serve(sp, [refusing]);
      const other = await loopback.serve(sp, [named('other', calls)]);
      const connection = loopback.connect([one.address, other.address], gateway);
      const call = () => callUnary(connection, getParameters, {}, soon);
      await expect(call()).rejects.toMatchObject({ code });
      await call();
      expect(calls).toEqual(['other']);
    });

    it('is not left for an answer that another one would give as well', async () => {
      const spent = { retryAfterMs: 5 };
      const refusing = answering(() =>
        Promise.reject(duoveilError('BUDGET_EXCEEDED', 'spent', spent)),
      );
      const one = await loopback.serve(sp, [refusing]);
      const other = await loopback.serve(sp, [named('other', [])]);
      const connection = loopback.connect([one.address, other.address], gateway);
      for (let i = 0; i < 3; i += 1) {
        const call = callUnary(connection, getParameters, {}, soon);
        await expect(call).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' });
      }
      expect(connection.peer).toBe(`sp at ${one.address}`);
    });
  });

  describe('that goes down when a connection has just broken', () => {
    afterEach(() => vi.restoreAllMocks());

    it.each([0, 50])('comes to its end, with a grace of %i ms', async (graceMs) => {
      const created = vi.spyOn(http2, 'createSecureServer');
      const server = await loopback.serve(sp, [answering(() => Promise.resolve(response))]);
      let session: http2.Http2Session | undefined;
      const [made] = created.mock.results;
      (made?.value as http2.Http2SecureServer | undefined)?.on('session', (begun) => {
        session = begun;
      });
      await callUnary(loopback.connect(server.address, gateway), getParameters, {}, soon);
      // It is gone, and has not said so yet: whoever closes it at this moment is never told.
      session?.destroy();
      expect(session).toMatchObject({ destroyed: true, closed: false });
      await server.drain(graceMs);
    });
  });

  describe('with a stream of responses', () => {
    it('sends them all, in order, then ends', async () => {
      const connection = await connectTo(
        watching(async function* (from) {
          for (let model = Number(from); model < 100; model += 1) {
            yield trained(model);
            await Promise.resolve();
          }
        }),
      );
      const seen: WatchResponse[] = [];
      for await (const event of callServerStream(connection, watch, {
        patientId: 'p1',
        fromSequence: 40n,
      })) {
        seen.push(event);
      }
      expect(seen).toEqual(Array.from({ length: 60 }, (_, index) => trained(40 + index)));
    });

    it('stops the generator when the client leaves', async () => {
      const stopped = vi.fn();
      const connection = await connectTo(
        watching(async function* (_from, { signal }) {
          try {
            for (let model = 1; ; model += 1) {
              yield trained(model);
              await systemSleep(5, signal);
            }
          } finally {
            stopped();
          }
        }),
      );
      for await (const event of callServerStream(connection, watch, {
        patientId: 'p1',
        fromSequence: 1n,
      })) {
        expect(event).toEqual(trained(1));
        break;
      }
      await vi.waitFor(() => {
        expect(stopped).toHaveBeenCalledTimes(1);
      });
    });

    it('asks for no more than the client takes', async () => {
      let produced = 0;
      const connection = await connectTo(
        watching(async function* () {
          for (; produced < 100_000; produced += 1) {
            yield trained(1, 1);
            // Lets the transport work; without pressure the loop would run on regardless.
            await new Promise(setImmediate);
          }
        }),
      );
      const stream = callServerStream(connection, watch, { patientId: 'p1', fromSequence: 1n });
      await stream.next();
      let before = -1;
      await vi.waitFor(
        () => {
          const still = produced === before;
          before = produced;
          expect(still).toBe(true);
        },
        { interval: 200, timeout: 20_000 },
      );
      expect(produced).toBeLessThan(100_000);
      await stream.return();
    });

    it('passes on an error after some of them', async () => {
      const connection = await connectTo(
        // eslint-disable-next-line @typescript-eslint/require-await
        watching(async function* () {
          yield trained(1);
          throw duoveilError('PATIENT_NOT_ENROLLED', 'no such patient');
        }),
      );
      const stream = callServerStream(connection, watch, { patientId: 'p1', fromSequence: 1n });
      expect((await stream.next()).value).toEqual(trained(1));
      await expect(stream.next()).rejects.toMatchObject({ code: 'PATIENT_NOT_ENROLLED' });
    });
  });

  describe('with streams both ways', () => {
    const sample = (sequence: bigint): IngestRequest => ({
      message: { $case: 'sample', value: { sequence, ciphertexts: [] } },
    });
    const ingesting = (handle: BidiHandler<IngestRequest, IngestResponse>): Service =>
      implement(IngestServiceService, { ingest: bidi({ roles: ['gateway'] }, handle) });

    it('answers each request while more come', async () => {
      const connection = await connectTo(
        implement(IngestServiceService, {
          ingest: bidi({ roles: ['gateway'] }, async (requests, send) => {
            for await (const { message } of requests) {
              if (message?.$case !== 'sample') throw new Error('unexpected');
              const { sequence } = message.value;
              await send({ message: { $case: 'acknowledged', value: { sequence } } });
            }
          }),
        }),
      );
      const call = callBidi(connection, ingest);
      for (let sequence = 1n; sequence <= 200n; sequence += 1n) {
        await call.send(sample(sequence));
        const { value } = await call.responses.next();
        expect(value).toEqual({ message: { $case: 'acknowledged', value: { sequence } } });
      }
      call.end();
      expect((await call.responses.next()).done).toBe(true);
    });

    it('slows the sender down to the pace of the handler', async () => {
      const signalSeen = vi.fn();
      const connection = await connectTo(
        ingesting(async (_requests, _send, { signal }) => {
          await systemSleep(60_000, signal).catch(signalSeen);
        }),
      );
      const call = callBidi(connection, ingest);
      let sent = 0;
      const pump = (async () => {
        for (let sequence = 1n; ; sequence += 1n) {
          await call.send({
            message: {
              $case: 'sample',
              value: { sequence, ciphertexts: [{ a: Buffer.alloc(8192), b: Buffer.alloc(8192) }] },
            },
          });
          sent += 1;
        }
      })().catch((error: unknown) => error);
      let before = -1;
      await vi.waitFor(
        () => {
          const still = sent > 0 && sent === before;
          before = sent;
          expect(still).toBe(true);
        },
        { interval: 200, timeout: 20_000 },
      );
      // A megabyte and more would mean that nothing held it back.
      expect(sent).toBeLessThan(100);
      call.cancel();
      expect(await pump).toMatchObject({ code: 'PEER_UNAVAILABLE' });
      await vi.waitFor(() => {
        expect(signalSeen).toHaveBeenCalledTimes(1);
      });
    });

    it("tells the handler's loop when the client goes", async () => {
      const left = vi.fn();
      const entered = vi.fn();
      const connection = await connectTo(
        ingesting(async (requests) => {
          entered();
          try {
            await drainAll(requests);
          } catch (error) {
            left(error);
            throw error;
          }
        }),
      );
      const call = callBidi(connection, ingest);
      await call.send(sample(1n));
      await vi.waitFor(() => {
        expect(entered).toHaveBeenCalled();
      });
      call.cancel();
      await vi.waitFor(() => {
        expect(left).toHaveBeenCalledTimes(1);
      });
    });

    it('tells the failure also to those who begin to read after it', async () => {
      const connection = await connectTo(
        ingesting(() =>
          Promise.reject(duoveilError('PATIENT_NOT_ENROLLED', 'this patient is not enrolled')),
        ),
      );
      const call = callBidi(connection, ingest);
      // What cannot be sent any more shows that the call is over.
      await vi.waitFor(async () => {
        await expect(call.send(sample(1n))).rejects.toMatchObject({ code: 'PATIENT_NOT_ENROLLED' });
      });
      await expect(call.responses.next()).rejects.toMatchObject({ code: 'PATIENT_NOT_ENROLLED' });
    });

    it('can refuse in the middle of a stream', async () => {
      const connection = await connectTo(
        ingesting(async (requests) => {
          await requests[Symbol.asyncIterator]().next();
          throw duoveilError('SEQUENCE_GAP', 'expected sample 5', { expected: 5n });
        }),
      );
      const call = callBidi(connection, ingest);
      await call.send(sample(9n));
      await expect(call.responses.next()).rejects.toMatchObject({
        code: 'SEQUENCE_GAP',
        details: { expected: 5n },
      });
      await expect(call.send(sample(10n))).rejects.toMatchObject({ code: 'SEQUENCE_GAP' });
    });
  });
});
