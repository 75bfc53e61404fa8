/** What is nowhere to be found: not in a log, not on a disk, not among the processes. */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { parseSchema, quantiseRow, scaledThreshold } from '@duoveil/common/encoding';
import type { Schema } from '@duoveil/common/encoding';
import { Secret as Sealed } from '@duoveil/common/secret';
import { readSecretKey } from '@duoveil/gateway';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { replay } from '../src/oracle/index.js';
import { Observed } from '../src/parties/observed.js';
import { listProcesses } from '../src/parties/processes.js';
import { seededPrng } from '../src/simulation/prng.js';
import { Deployment, PATIENT } from './support/deployment.js';
import { readResults, REFERENCE } from './support/duoveil.js';
import { distance, filesBelow, longInteger, plainText, row, search } from './support/leaks.js';
import type { Place, Secret } from './support/leaks.js';

const require = createRequire(import.meta.url);
const programme = require.resolve('@duoveil/gateway/main');

/** So fine that a reading is not there by chance; no quantised one passes for a port. */
const SCHEMA: Schema = parseSchema(
  {
    channels: ['ALPHA', 'BETA', 'GAMMA'].map((name) => ({
      ...{ name, min: 0, max: 65, resolution: '0.001', noiseFloor: '0.5' },
    })),
  },
  'the test',
);
const PASSPHRASE = 'the secret of this gateway, for nobody to see';
const WINDOW = 8;

const prng = seededPrng(3);
const rows = Array.from({ length: 40 }, () =>
  SCHEMA.channels.map(() => (prng.integer(10_001, 31_999) / 1000).toFixed(3)),
);
const cellsOf = (readings: readonly string[]): Record<string, string> =>
  Object.fromEntries(SCHEMA.channels.map(({ name }, i) => [name, readings[i] ?? '']));

let deployment: Deployment;
/** Everything that was logged, by party. */
let logs: readonly Place[];
/** Everything that was on disk, in the middle and in the end. */
let files: readonly Place[];
/** The command lines of all processes. */
let commands: readonly Place[];
let secrets: readonly Secret[];
let distances: readonly Secret[];
/** The halves of every private TLS key. */
let keyTexts: readonly Secret[];

beforeAll(async () => {
  deployment = await Deployment.start({ logLevel: 'debug' });
  const { servers, directory, passphrase } = deployment;
  const input = join(directory, 'recording.csv');
  const names = SCHEMA.channels.map(({ name }) => name).join();
  writeFileSync(input, `${[names, ...rows.map((readings) => readings.join())].join('\n')}\n`);
  const schemaFile = join(directory, 'schema.json');
  writeFileSync(schemaFile, JSON.stringify(SCHEMA));
  const tls = await servers.issueGateway(PATIENT);
  const state = join(directory, 'gateway');
  const start = (...parameters: string[]): Observed =>
    new Observed({
      programme,
      arguments: [
        ...parameters,
        ...['--sp', servers.address, '--tls', tls, '--state', state, '--log-level', 'debug'],
      ],
      environment: { DUOVEIL_GATEWAY_PASSPHRASE: PASSPHRASE, DUOVEIL_LOG_LEVEL: 'debug' },
    });

  const enrolment = start(
    ...['enrol', '--parameters-digest', servers.digest, '--insecure-key-bits'],
    ...['--schema', schemaFile, '--window', String(WINDOW), '--baseline', 'rolling'],
    ...['--retrain-every', '5', ...REFERENCE],
  );
  expect(await enrolment.ended).toMatchObject({ code: 0 });

  const places: Place[] = [];
  const look = (when: string): void => {
    for (const { name, content } of filesBelow(directory, /recording\.csv$/)) {
      places.push({ name: `${name} (${when})`, content });
    }
  };
  // Killed in the middle: the spool holds samples, the store has not been tidied up.
  const first = start('stream', '--input', input, '--json');
  await first.until(() => first.output.length > WINDOW + 4);
  commands = [{ name: 'the command lines', content: Buffer.from(JSON.stringify(listProcesses())) }];
  first.signal('SIGKILL');
  await first.ended;
  servers.csp.kill();
  look('in the middle');
  const second = start('stream', '--input', input, '--json');
  expect(await second.ended).toMatchObject({ code: 0 });
  expect(readResults(second.output).rows).toHaveLength(rows.length);
  servers.sp.kill();
  look('in the end');
  files = places;
  await servers.stop();

  const of = (name: string, lines: readonly string[]): Place => ({
    name,
    content: Buffer.from(lines.join('\n')),
  });
  logs = [
    of("the servers' log", deployment.log),
    of("the gateway's log", [...enrolment.log, ...first.log, ...second.log]),
  ];

  const master = await deployment.masterKey();
  const { p, q } = master.factors.reveal();
  const secretKey = await readSecretKey(state, PATIENT, master.parameters, {
    kind: 'passphrase',
    passphrase: new Sealed(PASSPHRASE),
  });
  if (secretKey === undefined) throw new Error('there is no secret key');
  secrets = [
    ...rows.map((readings, i) => {
      const quantised = quantiseRow(SCHEMA, cellsOf(readings));
      if ('skipped' in quantised) throw new Error(quantised.skipped);
      return row(`row ${i}`, readings, quantised.complete);
    }),
    longInteger('p', p),
    longInteger('q', q),
    longInteger("p'", (p - 1n) / 2n),
    longInteger("q'", (q - 1n) / 2n),
    longInteger('lambda', ((p - 1n) * (q - 1n)) / 2n),
    longInteger("the patient's secret key", secretKey.reveal()),
    plainText("the CSP's passphrase", passphrase),
    plainText("the gateway's passphrase", PASSPHRASE),
  ];
  const policy = {
    window: WINDOW,
    baseline: 'rolling',
    retrainEvery: 5,
    thresholdScaled: scaledThreshold(0.975, SCHEMA.channels.length),
  } as const;
  const exact = replay(
    rows.map((readings) => ({ cells: cellsOf(readings) })),
    SCHEMA,
    policy,
  );
  distances = exact.flatMap((one) => ('md2' in one ? [distance(`MD² ${one.index}`, one.md2)] : []));
  keyTexts = ['csp', 'sp', `gateway-${PATIENT}`].map((party) => {
    const [, line = ''] = readFileSync(join(directory, party, 'tls', 'tls.key'), 'utf8').split(
      '\n',
    );
    return plainText(`the TLS key of ${party}`, line);
  });
});
afterAll(() => deployment.close());

describe('no secret', () => {
  test('is in a log', () => {
    // There is something to be searched.
    const levels = logs.map(
      ({ content }) => /"level":"(debug|info)"/.exec(content.toString())?.[1],
    );
    expect(levels).toEqual(['info', 'info']);
    expect(logs[0]?.content.includes('"level":"debug"')).toBe(true);
    expect(search([...secrets, ...keyTexts], logs)).toEqual([]);
  });

  test('is on a disk', () => {
    const names = files.map(({ name }) => name).join('\n');
    for (const part of ['store.db', 'store.db-wal', 'spool.db', 'spool.db-wal']) {
      expect(names).toContain(`${part} (in the middle)`);
    }
    expect(names).toContain('secret-key.json (in the end)');
    expect(search(secrets, files)).toEqual([]);
  });

  test('is among the arguments of a process', () => {
    expect(search([...secrets, ...keyTexts], commands)).toEqual([]);
  });
});

test('no distance is in the log of a server', () => {
  expect(distances).toHaveLength(rows.length - WINDOW);
  expect(search(distances, logs.slice(0, 1))).toEqual([]);
});

describe('the search', () => {
  test('finds each of them, in each form, where it is planted', () => {
    const [log] = logs;
    const store = files.find(({ name }) => name.includes('store.db'));
    for (const { name, content } of [log, store].filter((place) => place !== undefined)) {
      for (const secret of [...secrets, ...distances, ...keyTexts]) {
        for (const form of secret.forms) {
          const planted = 'example' in form ? Buffer.from(form.example) : form;
          const half = Math.floor(content.length / 2);
          const spoilt = Buffer.concat([
            content.subarray(0, half),
            planted,
            content.subarray(half),
          ]);
          expect(search([{ ...secret, forms: [form] }], [{ name, content: spoilt }])).toEqual([
            `${secret.name} in ${name}`,
          ]);
        }
      }
    }
  });

  test('finds a reading that is logged, and a number that is stored', () => {
    const [secret] = secrets;
    const [reading = ''] = rows[0] ?? [];
    const lines = [`{"message":"HR is ${reading}"}`, `{"values":[${reading},1]}`, `q=${reading}`];
    for (const line of lines) {
      const places = [{ name: 'a log', content: Buffer.from(line) }];
      expect(search(secret === undefined ? [] : [secret], places)).toEqual(['row 0 in a log']);
    }
  });
});
