/** What a whole deployment says of itself: metrics, readiness, traces, logs. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { parsePatientId } from '@duoveil/common/runtime';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { simulate } from '../src/simulation/index.js';
import { Collector } from './support/collector.js';
import { Deployment, identity } from './support/deployment.js';
import { duoveil } from './support/duoveil.js';

/** A name that is nowhere by chance. */
const PATIENT = parsePatientId('zebra-okapi', 'patient');
const ROWS = 20;
const WINDOW = 8;

let collector: Collector;
let deployment: Deployment;
/** What both servers showed after the run, and what they logged. */
const scraped: Record<string, string> = {};

async function addressOf(service: 'csp' | 'sp'): Promise<string> {
  const said = new RegExp(`"service":"${service}".*"message":"metrics"`);
  await deployment.logged(said);
  const line = deployment.log.find((one) => said.test(one)) ?? '{}';
  return (JSON.parse(line) as { address: string }).address;
}

beforeAll(async () => {
  collector = await Collector.start();
  deployment = await Deployment.start({
    environment: {
      DUOVEIL_METRICS_LISTEN: '127.0.0.1:0',
      DUOVEIL_TRACE_ENDPOINT: collector.url,
    },
    logLevel: 'debug',
  });
  const { servers, directory } = deployment;
  const input = join(directory, 'recording.csv');
  const channels = ['HR', 'RESP'];
  const { rows } = simulate({ seed: 5, rows: ROWS, scenario: 'calm', channels, decimals: 1 });
  const lines = rows.map(({ cells }) => channels.map((name) => cells[name] ?? '').join());
  // The last row but one is not complete.
  lines.splice(-1, 0, '60,');
  writeFileSync(input, `${[channels.join(), ...lines].join('\n')}\n`);
  const tls = await servers.issueGateway(PATIENT);
  const common = ['--sp', servers.address, '--tls', tls, '--state', join(directory, 'gateway')];
  const environment = {
    DUOVEIL_GATEWAY_PASSPHRASE: 'of the gateway',
    DUOVEIL_GATEWAY_TRACE_ENDPOINT: collector.url,
  };
  const enrolled = await duoveil(
    [
      ...['gateway', 'enrol', ...common, '--parameters-digest', servers.digest],
      ...['--insecure-key-bits', '--channels', channels.join(), '--window', String(WINDOW)],
      ...['--suite', 'packed', '--output', 'level'],
    ],
    { environment },
  );
  expect(enrolled).toMatchObject({ code: 0 });
  const streamed = await duoveil(['gateway', 'stream', ...common, '--input', input], {
    environment,
  });
  expect(streamed).toMatchObject({ code: 0 });
  for (const service of ['csp', 'sp'] as const) {
    const response = await fetch(`http://${await addressOf(service)}/metrics`);
    scraped[service] = await response.text();
  }
});
afterAll(async () => {
  await deployment.close();
  collector.stop();
});

/** The sum over all labels that match. */
function value(service: 'csp' | 'sp', name: string, labels = ''): number {
  return (scraped[service] ?? '')
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .filter((line) => line.includes(labels))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

describe('the metrics of a run', () => {
  test('count what the service provider did', () => {
    expect(value('sp', 'duoveil_ready')).toBe(1);
    expect(value('sp', 'duoveil_patients')).toBe(1);
    expect(value('sp', 'duoveil_samples_total')).toBe(ROWS);
    expect(value('sp', 'duoveil_samples_pending')).toBe(0);
    expect(value('sp', 'duoveil_lag')).toBe(0);
    expect(value('sp', 'duoveil_decisions_total', 'duoveil_outcome="learning"')).toBe(WINDOW);
    const scored = ROWS - WINDOW;
    expect(value('sp', 'duoveil_decisions_total', 'duoveil_outcome="scored"')).toBe(scored);
    expect(value('sp', 'duoveil_decisions_total', 'duoveil_level=')).toBe(scored);
    expect(value('sp', 'duoveil_decision_delay_count')).toBe(ROWS);
    expect(value('sp', 'duoveil_score_duration_count')).toBe(scored);
    expect(value('sp', 'duoveil_training_duration_count')).toBe(1);
    expect(value('sp', 'duoveil_pool_fill_count', 'duoveil_pool="preparations"')).toBe(scored);
    const days = value('sp', 'duoveil_certificate_expiry', 'duoveil_certificate="party"') / 86_400;
    expect(days).toBeGreaterThan(1);
  });

  test('count what the crypto service provider did, as both ends of each call', () => {
    const scored = ROWS - WINDOW;
    const score = 'rpc_method="duoveil.v1.PackedService/Score"';
    expect(value('csp', 'rpc_server_call_duration_count', score)).toBe(scored);
    expect(value('sp', 'rpc_client_call_duration_count', score)).toBe(scored);
    expect(value('csp', 'duoveil_openings_total', 'duoveil_suite="packed"')).toBeGreaterThan(
      scored,
    );
    expect(value('csp', 'duoveil_pool_fill_count', 'duoveil_pool="zeros"')).toBe(scored);
  });

  test('name no patient and no party', () => {
    for (const text of Object.values(scraped)) {
      expect(text.length).toBeGreaterThan(1000);
      expect(text).not.toMatch(/zebra|okapi|spiffe/);
    }
  });

  test('say that a server is ready', async () => {
    const address = await addressOf('csp');
    expect((await fetch(`http://${address}/readyz`)).status).toBe(200);
    expect((await fetch(`http://${address}/healthz`)).status).toBe(200);
  });
});

test('an operator changes the log level while a server runs', async () => {
  const tls = await deployment.servers.issue('operator', identity('operator'));
  const { address } = deployment.servers;
  const set = (level: string) =>
    duoveil([
      ...['operator', 'log-level', '--server', 'sp', '--address', address],
      ...['--tls', tls, '--level', level],
    ]);
  const finished = /"message":"call finished"/;
  expect(deployment.log.some((line) => line.includes('"message":"call finished"'))).toBe(true);
  expect(await set('error')).toMatchObject({ code: 0, output: ['log level error, was debug'] });
  await deployment.logged(/"from":"debug","to":"error"/);
  const from = deployment.log.length;
  expect(await set('debug')).toMatchObject({ code: 0, output: ['log level debug, was error'] });
  await deployment.logged(finished, from);
  // The call that brought it back is the first one that is logged again.
  expect(deployment.log[from]).toMatch(/OperationsService\/SetLogLevel.*"call finished"/);
  expect(await set('loud')).toMatchObject({ code: 2 });
});

test('a trace goes from a sample at the gateway to the CSP, and names no patient', async () => {
  // What is left is sent when they stop.
  await deployment.servers.stop();
  const scores = collector.spans.filter(
    ({ service, name }) => service === 'duoveil-csp' && name === 'duoveil.v1.PackedService/Score',
  );
  expect(scores).toHaveLength(ROWS - WINDOW);
  const byId = new Map(collector.spans.map((span) => [span.spanId, span]));
  for (const score of scores) {
    const way: string[] = [];
    for (let span = byId.get(score.spanId); span; span = byId.get(span.parentSpanId ?? '')) {
      expect(span.traceId).toBe(score.traceId);
      way.push(`${span.service} ${span.name}`);
    }
    expect(way).toEqual([
      'duoveil-csp duoveil.v1.PackedService/Score',
      'duoveil-sp duoveil.v1.PackedService/Score',
      'duoveil-sp decide',
      'duoveil-gateway sample',
    ]);
  }
  // Each sample is a trace of its own.
  expect(new Set(scores.map(({ traceId }) => traceId)).size).toBe(scores.length);
  expect(collector.bodies.join('')).not.toMatch(/zebra|okapi/);

  const ids = scores.map(({ traceId }) => traceId);
  const logged = deployment.log.filter((line) => ids.some((id) => line.includes(id)));
  expect(logged.some((line) => line.includes('"service":"csp"'))).toBe(true);
});
