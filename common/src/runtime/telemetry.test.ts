import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ParametersServiceService as Parameters } from '@duoveil/proto';
import { afterEach, describe, expect, it } from 'vitest';
import { callUnary } from './client.js';
import { authority, identity, issue, lineCollector, Loopback } from './fixture.js';
import { createLogger, silentLogger } from './logging.js';
import { metrics } from './metrics.js';
import { implement, unary } from './service.js';
import { startTelemetry } from './telemetry.js';
import type { Telemetry, TelemetrySettings } from './telemetry.js';
import { beginTrace, inSpan } from './tracing.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Telemetry with metrics on a port of the system's choice. */
async function start(
  settings: Partial<TelemetrySettings>,
): Promise<{ telemetry: Telemetry; get: (path: string) => Promise<Response> }> {
  const { stream, lines } = lineCollector();
  const logger = createLogger({ service: 'test', stream });
  const all = { metricsListen: '127.0.0.1:0', traceRatio: 1, ...settings };
  const telemetry = await startTelemetry('test', all, logger);
  closers.push(() => telemetry.close());
  const { address } = JSON.parse(lines[0] ?? '{}') as { address: string };
  return { telemetry, get: (path) => fetch(`http://${address}${path}`) };
}

/** Calls a server once over mutual TLS, and fails once. */
async function callTwice(logger = silentLogger()): Promise<void> {
  const loopback = new Loopback();
  closers.push(() => loopback.close());
  const ours = await authority();
  const answering = implement(Parameters, {
    getParameters: unary({ roles: ['gateway'] }, (_request, context) => {
      context.logger.info('asked');
      return Promise.resolve({ parameters: undefined });
    }),
  });
  const { address } = await loopback.serve(await issue(ours, identity('sp')), [answering], {
    logger,
  });
  for (const role of ['gateway/ward-3-bed-7', 'operator/alice']) {
    const connection = loopback.connect(address, await issue(ours, identity(role)));
    const call = callUnary(connection, Parameters.getParameters, {}, { deadlineMs: 10_000 });
    await call.catch(() => undefined);
  }
}

describe('metrics', () => {
  it('tell of calls at both ends, and name nobody', async () => {
    const { get } = await start({});
    await callTwice();
    const text = await (await get('/metrics')).text();
    const [about, method] = [
      'rpc_system_name="grpc"',
      'duoveil.v1.ParametersService/GetParameters',
    ];
    expect(text).toContain(
      `rpc_server_call_duration_count{${about},rpc_method="${method}",rpc_response_status_code="OK"} 1`,
    );
    const labels = `${about},rpc_method="${method}"`;
    expect(text).toMatch(
      new RegExp(
        `rpc_client_call_duration_count\\{${labels},server_address="127.0.0.1",server_port="[0-9]+",` +
          'rpc_response_status_code="PERMISSION_DENIED",error_type="PERMISSION_DENIED"\\} 1',
      ),
    );
    expect(text).not.toMatch(/ward-3|alice|spiffe/);
  });

  it('are counted only while somebody asked for them', async () => {
    metrics.decisions.add(5, { 'duoveil.outcome': 'learning' });
    const { telemetry, get } = await start({});
    metrics.decisions.add(2, { 'duoveil.outcome': 'learning' });
    expect(await (await get('/metrics')).text()).toContain(
      'duoveil_decisions_total{duoveil_outcome="learning"} 2',
    );
    await telemetry.close();
    metrics.decisions.add(1, { 'duoveil.outcome': 'learning' });
  });

  it('are asked for when somebody looks', async () => {
    const { get } = await start({});
    let value = 3;
    const end = metrics.lag.observe((report) => {
      report(value);
    });
    expect(await (await get('/metrics')).text()).toMatch(/^duoveil_lag 3$/m);
    value = 4;
    expect(await (await get('/metrics')).text()).toMatch(/^duoveil_lag 4$/m);
    end();
    value = 5;
    expect(await (await get('/metrics')).text()).not.toMatch(/^duoveil_lag 5$/m);
  });
});

describe('readiness', () => {
  it('is that of the health service, and liveness is not', async () => {
    const { telemetry, get } = await start({});
    const status = async (path: string): Promise<number> => (await get(path)).status;
    expect(await status('/healthz')).toBe(200);
    expect(await status('/readyz')).toBe(503);
    let serving = true;
    telemetry.follow({ isServing: () => serving });
    expect(await status('/readyz')).toBe(200);
    expect(await (await get('/metrics')).text()).toMatch(/^duoveil_ready 1$/m);
    serving = false;
    expect(await status('/readyz')).toBe(503);
    expect(await status('/healthz')).toBe(200);
    expect(await (await get('/metrics')).text()).toMatch(/^duoveil_ready 0$/m);
    expect(await status('/secrets')).toBe(404);
  });

  it('cannot be served where the port is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    closers.push(() => void taken.close());
    const { port } = taken.address() as AddressInfo;
    await expect(start({ metricsListen: `127.0.0.1:${String(port)}` })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});

/** A span as OTLP writes it. */
interface WireSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
}

/** Collects spans. */
async function collector(): Promise<{ url: string; spans: WireSpan[] }> {
  const spans: WireSpan[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as {
        resourceSpans: { scopeSpans: { spans: WireSpan[] }[] }[];
      };
      spans.push(...resourceSpans.flatMap((one) => one.scopeSpans.flatMap((scope) => scope.spans)));
      response.end('{}');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${String(port)}/v1/traces`, spans };
}

describe('traces', () => {
  it('go from a client to a server, and are named in its log', async () => {
    const { url, spans } = await collector();
    const { telemetry } = await start({ traceEndpoint: url });
    const { stream, lines } = lineCollector();
    const logger = createLogger({ service: 'sp', stream });
    await inSpan('step', {}, () => callTwice(logger));
    await telemetry.close();
    const [step] = spans.filter(({ name }) => name === 'step');
    expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([step?.traceId]));
    const calls = spans.filter(({ name }) => name !== 'step');
    expect(calls).toHaveLength(4);
    const parents = calls.map(({ parentSpanId }) => parentSpanId);
    expect(parents.filter((id) => id === step?.spanId)).toHaveLength(2);
    expect(calls.filter(({ spanId }) => parents.includes(spanId))).toHaveLength(2);

    const asked = lines.find((line) => line.includes('"asked"')) ?? '{}';
    expect(JSON.parse(asked)).toMatchObject({
      traceId: step?.traceId,
      patient: 'ward-3-bed-7',
      requestId: expect.stringMatching(/^[0-9a-f]{16}$/) as unknown,
    });
  });

  it('are not begun where nobody takes them, nor beyond the share that is recorded', async () => {
    expect(beginTrace('sample')).toBeUndefined();
    const { url, spans } = await collector();
    const { telemetry } = await start({ traceEndpoint: url, traceRatio: 0 });
    const trace = beginTrace('sample');
    trace?.end();
    // Whoever goes on with it sees that it is not recorded.
    expect(trace?.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    await inSpan('decide', { traceparent: trace?.traceparent }, () => Promise.resolve());
    await telemetry.close();
    expect(spans).toEqual([]);
  });

  it('begin anew where a peer sends what is no context', async () => {
    const { url, spans } = await collector();
    const { telemetry } = await start({ traceEndpoint: url });
    for (const traceparent of ['', 'x'.repeat(10_000), '00-0-0-01', undefined]) {
      await inSpan('decide', { traceparent }, () => Promise.resolve());
    }
    await telemetry.close();
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(4);
  });

  it('say what failed', async () => {
    const { url, spans } = await collector();
    const { telemetry } = await start({ traceEndpoint: url });
    await expect(inSpan('decide', {}, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await telemetry.close();
    expect(spans).toMatchObject([{ name: 'decide', status: { code: 2 } }]);
  });
});
