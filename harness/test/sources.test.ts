/** Each source, by the command line and through all parties: what exact arithmetic gives. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import {
  DEFAULT_LEVEL_QUANTILES,
  isOutlier,
  scaledThreshold,
  selectChannels,
} from '@duoveil/common/encoding';
import { parsePatientId } from '@duoveil/common/runtime';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { replay } from '../src/oracle/index.js';
import { Mosquitto } from '../src/parties/mosquitto.js';
import { simulate } from '../src/simulation/index.js';
import { Deployment } from './support/deployment.js';
import { PACKED } from './support/duoveil.js';

const CHANNELS = ['HR', 'RESP', 'SpO2'];
const WINDOW = 8;
const ROWS = 16;
const T0 = Date.UTC(2026, 4, 4, 10, 44, 18);

const gatewayMain = createRequire(import.meta.url).resolve('@duoveil/gateway/main');
const schema = selectChannels(CHANNELS);
const thresholds = DEFAULT_LEVEL_QUANTILES.map((q) => scaledThreshold(q, CHANNELS.length));

/** One row lacks a reading, and the last is far from any baseline. */
const rows = simulate({ seed: 7, rows: ROWS, scenario: 'calm', channels: CHANNELS }).rows.map(
  ({ cells }, index) => {
    if (index === 10) return { index, cells: { ...cells, RESP: undefined } };
    return index < ROWS - 1 ? { index, cells } : { index, cells: { ...cells, HR: '30' } };
  },
);

/** What becomes of each complete row, in order. */
const expected = replay(rows, schema, {
  window: WINDOW,
  baseline: 'fixed',
  retrainEvery: 0,
  thresholdScaled: thresholds[0] ?? 0n,
}).flatMap((row): (string | number)[] => {
  if ('skipped' in row) return [];
  if ('learning' in row) return ['learning'];
  return [thresholds.filter((threshold) => isOutlier(row.exact, threshold)).length];
});

let deployment: Deployment;
beforeAll(async () => {
  deployment = await Deployment.start();
  await writeFile(join(deployment.directory, 'a.key'), Buffer.alloc(32, 7));
});
afterAll(() => deployment.close());

interface Ended {
  readonly code: number | null;
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  readonly log: readonly string[];
}

/** The gateway of a patient. */
async function gateway(words: readonly string[], stdin = ''): Promise<Ended> {
  const child = spawn(process.execPath, [gatewayMain, ...words], {
    env: { ...process.env, DUOVEIL_GATEWAY_KEY_FILE: join(deployment.directory, 'a.key') },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.end(stdin);
  const lines: Readonly<Record<string, unknown>>[] = [];
  const log: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('{')) lines.push(JSON.parse(line) as (typeof lines)[number]);
  });
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, lines, log };
}

/** Enrols a patient of its own, streams, and gives back what became of the complete rows. */
async function results(name: string, words: readonly string[], stdin?: string) {
  const { servers, directory } = deployment;
  const tls = await servers.issueGateway(parsePatientId(name, 'patient'));
  const state = ['--state', join(directory, `state-${name}`)];
  const connection = ['--sp', servers.address, '--tls', tls, ...state];
  const enrolled = await gateway([
    ...['enrol', ...connection, '--parameters-digest', servers.digest, '--insecure-key-bits'],
    ...['--channels', CHANNELS.join(), '--window', String(WINDOW), ...PACKED],
  ]);
  expect(enrolled).toMatchObject({ code: 0 });
  const { code, lines, log } = await gateway(
    [...['stream', ...connection, '--json', '--log-level', 'error'], ...words],
    stdin,
  );
  expect([code, log]).toEqual([0, []]);
  expect(lines.at(-1)).toMatchObject({ summary: { rows: ROWS, skipped: 1, output: 'level' } });
  expect(lines.filter((line) => 'skipped' in line)).toHaveLength(1);
  return lines.flatMap((line) => ('learning' in line ? ['learning'] : (line['level'] ?? [])));
}

async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(deployment.directory, name);
  await writeFile(path, content);
  return path;
}

const ndjson = () =>
  rows
    .map(({ cells }, i) => JSON.stringify({ time: Date.now() - 1000 * (ROWS - i), ...cells }))
    .map((line) => `${line}\n`)
    .join('');

/** Each reading an Observation of its own. */
function observations(begin: number): unknown[] {
  return rows.flatMap(({ cells }, i) =>
    schema.channels.flatMap(({ name, loinc }, j) => {
      const value = cells[name];
      if (value === undefined) return [];
      const code = name === 'SpO2' ? '%' : '/min';
      return {
        resourceType: 'Observation',
        status: 'final',
        code: { coding: [{ system: 'http://loinc.org', code: loinc }] },
        effectiveInstant: new Date(begin + 1000 * i + 20 * j).toISOString(),
        valueQuantity: { value: Number(value), system: 'http://unitsofmeasure.org', code },
      };
    }),
  );
}

async function wfdbRecord(): Promise<string> {
  const frames = rows.map(({ cells }) =>
    schema.channels.map(({ name }) => (cells[name] === undefined ? 0 : 10 * Number(cells[name]))),
  );
  const data = Buffer.alloc(2 * ROWS * CHANNELS.length);
  frames.flat().forEach((sample, i) => data.writeInt16LE(Math.round(sample), 2 * i));
  await file('r.dat', data);
  const signals = schema.channels.map(({ name }, j) => {
    const sum = frames.reduce((total, frame) => total + (frame[j] ?? 0), 0) & 0xffff;
    return `r.dat 16 10/${name === 'SpO2' ? '%' : 'bpm'} 16 0 ${frames[0]?.[j] ?? 0} ${sum} 0 ${name}`;
  });
  return file('r.hea', [`r 3 1 ${ROWS} 10:44:18 04/05/2026`, ...signals, ''].join('\n'));
}

/** Publishes each row as one message, once somebody has a session at the broker to keep it for. */
async function publishRows(port: number): Promise<void> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`);
  for (const { cells, index } of rows) {
    const content = { at: Date.now() - 1000 * (ROWS - index), ...cells };
    await client.publishAsync('vitals', JSON.stringify(content), { qos: 1 });
  }
  await client.endAsync();
}

/** A session that keeps what is published until the gateway comes. */
async function reserveSession(port: number, clientId: string): Promise<void> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
    ...{ clientId, clean: false, protocolVersion: 5 },
    properties: { sessionExpiryInterval: 600 },
  });
  await client.subscribeAsync('vitals', { qos: 1 });
  await client.endAsync();
}

describe('decisions on what comes from', () => {
  it.skipIf(!Mosquitto.available)('an MQTT broker', async () => {
    const broker = await Mosquitto.start();
    try {
      await reserveSession(broker.port, 'ward-7');
      await publishRows(broker.port);
      const mapping = await file(
        'mapping.yaml',
        `broker: mqtt://127.0.0.1:${broker.port}
clientId: ward-7
message: { topic: vitals, time: /at, channels: { HR: /HR, RESP: /RESP, SpO2: /SpO2 } }
`,
      );
      const words = ['--source', 'mqtt', '--mapping', mapping, '--limit', String(ROWS)];
      expect(await results('mqtt', words)).toEqual(expected);
    } finally {
      await broker.stop();
    }
  });

  it('a WFDB record', async () => {
    expect(await results('wfdb', ['--input', await wfdbRecord()])).toEqual(expected);
  });

  it('NDJSON, from a file and on standard input', async () => {
    const input = await file('vitals.ndjson', ndjson());
    expect(await results('ndjson', ['--input', input])).toEqual(expected);
    const live = ['--source', 'ndjson', '--input', '-'];
    expect(await results('ndjson-live', live, ndjson())).toEqual(expected);
  });

  it('FHIR, as a Bundle and a resource a line on standard input', async () => {
    const entry = observations(T0).map((resource) => ({ resource }));
    const bundle = { resourceType: 'Bundle', type: 'collection', entry: entry.reverse() };
    const input = await file('vitals.json', JSON.stringify(bundle));
    expect(await results('fhir', ['--input', input])).toEqual(expected);
    const live = ['--source', 'fhir', '--input', '-'];
    const lines = observations(Date.now() - 1000 * ROWS - 500).map(
      (resource) => `${JSON.stringify(resource)}\n`,
    );
    expect(await results('fhir-live', live, lines.join(''))).toEqual(expected);
  });
});
