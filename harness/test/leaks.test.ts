/** What is nowhere to be found: not in a log, not on a disk, not among the processes. */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { parseSchema, quantiseRow, scaledThreshold } from '@duoveil/common/encoding';
import type { Schema } from '@duoveil/common/encoding';
import { Secret as Sealed } from '@duoveil/common/secret';
import { readSecretKey } from '@duoveil/gateway/parts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { replay } from '../src/oracle/index.js';
import { Observed } from '../src/parties/observed.js';
import { listProcesses } from '../src/parties/processes.js';
import { seededPrng } from '../src/simulation/prng.js';
import { Deployment, PATIENT } from './support/deployment.js';
import { PACKED, readResults, REFERENCE } from './support/duoveil.js';
import { distance, filesBelow, longInteger, plainText, row, search } from './support/leaks.js';
import type { Place, Secret } from './support/leaks.js';

const require = createRequire(import.meta.url);
const programme = require.resolve('@duoveil/gateway/main');

/**
 * So fine that a reading is not there by chance: no quantised one passes for a port, a process
 * identifier or a duration in decimals, or for a group of a UUID in hexadecimals.
 */
const SCHEMA: Schema = parseSchema(
  {
    channels: ['ALPHA', 'BETA', 'GAMMA'].map((name) => ({
      ...{ name, min: 0, max: 65, resolution: '0.0001', noiseFloor: '0.5' },
    })),
  },
  'the test',
);
const PASSPHRASE = 'the secret of this gateway, for nobody to see';
const WINDOW = 8;

const prng = seededPrng(3);
const rows = Array.from({ length: 40 }, () =>
  SCHEMA.channels.map(() => (prng.integer(150_001, 649_999) / 10_000).toFixed(4)),
);
const cellsOf = (readings: readonly string[]): Record<string, string> =>
  Object.fromEntries(SCHEMA.channels.map(({ name }, i) => [name, readings[i] ?? '']));

/** All that a session left behind, and what must not be in it. */
interface Session {
  readonly deployment: Deployment;
  /** Everything that was logged, by party. */
  readonly logs: readonly Place[];
  /** Everything that was on disk, in the middle and in the end. */
  readonly files: readonly Place[];
  /** The command lines of all processes. */
  readonly commands: readonly Place[];
  readonly secrets: readonly Secret[];
  readonly distances: readonly Secret[];
  /** A part of every private TLS key. */
  readonly keyTexts: readonly Secret[];
}

/** A whole session at the most talkative level: enrolment, a kill of each party, the last row. */
async function session(protocol: readonly string[]): Promise<Session> {
  const deployment = await Deployment.start({ logLevel: 'debug' });
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
    ...['--retrain-every', '5', ...protocol],
  );
  expect(await enrolment.ended).toMatchObject({ code: 0 });

  const places: Place[] = [];
  const look = (when: string): void => {
    for (const { name, content } of filesBelow(directory, /(recording\.csv|store\.db\.key)$/)) {
      places.push({ name: `${name} (${when})`, content });
    }
  };
  // Killed in the middle: the spool holds samples, the store has not been tidied up.
  const first = start('stream', '--input', input, '--json');
  await first.until(() => first.output.length > WINDOW + 4);
  const commands = [
    { name: 'the command lines', content: Buffer.from(JSON.stringify(listProcesses())) },
  ];
  first.signal('SIGKILL');
  await first.ended;
  servers.csp.kill();
  look('in the middle');
  const second = start('stream', '--input', input, '--json');
  expect(await second.ended).toMatchObject({ code: 0 });
  expect(readResults(second.output).rows).toHaveLength(rows.length);
  servers.sp.kill();
  look('in the end');
  await servers.stop();

  const of = (name: string, lines: readonly string[]): Place => ({
    name,
    content: Buffer.from(lines.join('\n')),
  });
  const logs = [
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
  const secrets = [
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
    longInteger('the store key', BigInt(`0x${readFileSync(`${servers.spDatabase}.key`, 'utf8')}`)),
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
  const distances = exact.flatMap((one) =>
    'md2' in one ? [distance(`MD² ${one.index}`, one.md2)] : [],
  );
  const keyTexts = ['csp', 'sp', `gateway-${PATIENT}`].map((party) => {
    const [, line = ''] = readFileSync(join(directory, party, 'tls', 'tls.key'), 'utf8').split(
      '\n',
    );
    return plainText(`the TLS key of ${party}`, line);
  });
  return { deployment, logs, files: places, commands, secrets, distances, keyTexts };
}

const protocols = [
  { name: 'the reference suite, distances', protocol: REFERENCE },
  { name: 'the packed suite, levels', protocol: PACKED },
] as const;

describe.each(protocols)('with $name,', ({ protocol }) => {
  let made: Session;
  beforeAll(async () => {
    made = await session(protocol);
  });
  afterAll(() => made.deployment.close());

  test('no secret is in a log', () => {
    const { logs, secrets, keyTexts } = made;
    // There is something to be searched.
    const levels = logs.map(
      ({ content }) => /"level":"(debug|info)"/.exec(content.toString())?.[1],
    );
    expect(levels).toEqual(['info', 'info']);
    expect(logs[0]?.content.includes('"level":"debug"')).toBe(true);
    expect(search([...secrets, ...keyTexts], logs)).toEqual([]);
  });

  test('no secret is on a disk', () => {
    const { files, secrets } = made;
    const names = files.map(({ name }) => name).join('\n');
    for (const part of ['store.db', 'store.db-wal', 'spool.db', 'spool-key.json']) {
      expect(names).toContain(`${part} (in the middle)`);
    }
    expect(names).toContain('secret-key.json (in the end)');
    expect(search(secrets, files)).toEqual([]);
  });

  test('no secret is among the arguments of a process', () => {
    const { commands, secrets, keyTexts } = made;
    expect(search([...secrets, ...keyTexts], commands)).toEqual([]);
  });

  test('no distance is in a log or on a disk', () => {
    const { logs, files, distances } = made;
    expect(distances).toHaveLength(rows.length - WINDOW);
    expect(search(distances, [...logs, ...files])).toEqual([]);
  });

  test('the search finds each of them, in each form, where it is planted', () => {
    const { logs, files, secrets, distances, keyTexts } = made;
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

  test('the search finds a reading in what is logged', () => {
    const [secret] = made.secrets;
    const [reading = ''] = rows[0] ?? [];
    const lines = [`{"message":"HR is ${reading}"}`, `{"values":[${reading},1]}`, `q=${reading}`];
    for (const line of lines) {
      const places = [{ name: 'a log', content: Buffer.from(line) }];
      expect(search(secret === undefined ? [] : [secret], places)).toEqual(['row 0 in a log']);
    }
  });
});
