/** Parties that are ended as by a power failure at chosen steps of a protocol. */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { parsePolicy, scaledThreshold, selectChannels } from '@duoveil/common/encoding';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { keepStoreKey, openStore } from '../../service-provider/src/store/index.js';
import type { CspProxy, PassingCall } from '../src/faults/csp-proxy.js';
import { replay } from '../src/oracle/index.js';
import { Supervised } from '../src/parties/supervised.js';
import { seededPrng } from '../src/simulation/prng.js';
import { simulate, toCsv } from '../src/simulation/index.js';
import { Deployment, PATIENT } from './support/deployment.js';
import { LONG, PACKED, readResults, REFERENCE } from './support/duoveil.js';
import { expectRows } from './support/recordings.js';
import { Openings } from './support/openings.js';
import { newKeyFile } from './support/sealing.js';

const require = createRequire(import.meta.url);
const programme = require.resolve('@duoveil/gateway/main');

const CHANNELS = ['HR', 'RESP', 'SpO2'];
const WINDOW = ['--window', '8', '--baseline', 'rolling', '--retrain-every', '4'];

type Party = 'csp' | 'sp' | 'gateway';

/** Who is killed at the next call of a method. */
interface Kill {
  readonly at: string;
  readonly victim: Party;
}

const PROTOCOLS = { packed: PACKED, reference: REFERENCE } as const;

/** The calls of each suite, those included that only a start or a restart brings about. */
const METHODS = {
  reference: ['RegisterKey', 'Subtract', 'Multiply', 'Divide', 'InvertMatrix', 'Open'],
  packed: ['ShareGram', 'InvertGram', 'KeepCoefficients', 'LoadModel', 'Score', 'Compare'],
} as const;

/**
 * In the first training, in its repetition, in scoring, in later trainings; with the packed suite also
 * where a server that was killed is told again what it has forgotten.
 */
const CHOSEN: Readonly<Record<keyof typeof METHODS, readonly Kill[]>> = {
  reference: [
    { at: 'Divide', victim: 'sp' },
    { at: 'InvertMatrix', victim: 'csp' },
    { at: 'InvertMatrix', victim: 'sp' },
    { at: 'Open', victim: 'csp' },
    { at: 'Open', victim: 'gateway' },
    { at: 'Open', victim: 'sp' },
  ],
  packed: [
    { at: 'ShareGram', victim: 'sp' },
    { at: 'InvertGram', victim: 'csp' },
    { at: 'KeepCoefficients', victim: 'sp' },
    { at: 'Score', victim: 'gateway' },
    { at: 'Score', victim: 'csp' },
    { at: 'OfferTransfers', victim: 'sp' },
    { at: 'Compare', victim: 'csp' },
    { at: 'InvertGram', victim: 'sp' },
  ],
};

/** The other steps: a training that is interrupted again and again, every start and every restart. */
const MORE: typeof CHOSEN = {
  reference: [
    { at: 'RegisterKey', victim: 'sp' },
    { at: 'Divide', victim: 'csp' },
    { at: 'Subtract', victim: 'sp' },
    { at: 'Multiply', victim: 'csp' },
    { at: 'InvertMatrix', victim: 'gateway' },
    { at: 'Multiply', victim: 'sp' },
  ],
  packed: [
    { at: 'ShareGram', victim: 'csp' },
    { at: 'RegisterProviderKey', victim: 'csp' },
    { at: 'KeepCoefficients', victim: 'csp' },
    { at: 'LoadModel', victim: 'sp' },
    { at: 'LoadModel', victim: 'csp' },
    { at: 'ChooseTransfers', victim: 'csp' },
    { at: 'Compare', victim: 'sp' },
    { at: 'Compare', victim: 'gateway' },
  ],
};

function drawn(seed: number, suite: keyof typeof METHODS): Kill[] {
  const prng = seededPrng(seed);
  const victims = (['csp', 'sp', 'gateway'] as const).flatMap((victim) =>
    Array.from({ length: 18 }, () => ({
      at: METHODS[suite][prng.integer(0, METHODS[suite].length - 1)] ?? '',
      victim,
      order: prng.uniform(),
    })),
  );
  return victims.sort((a, b) => a.order - b.order);
}

let deployment: Deployment;
let proxy: CspProxy;
let gateway: Supervised | undefined;

beforeEach(async () => {
  deployment = await Deployment.prepare();
  proxy = await deployment.startCspBehindProxy();
  await deployment.servers.startSp(proxy.address);
});
afterEach(async () => {
  await gateway?.stop();
  await deployment.close();
});

const suites = ['reference', 'packed'] as const;
const plans = suites.map((suite) => ({
  suite,
  name: 'at chosen steps',
  kills: CHOSEN[suite],
  rows: 48,
}));
const long = suites.flatMap((suite) => [
  { suite, name: 'at other steps', kills: MORE[suite], rows: 64 },
  ...[11, 12, 13].map((seed) => ({
    suite,
    name: `at drawn ones, seed ${seed}`,
    kills: drawn(seed, suite),
    rows: 300,
  })),
]);

describe('parties that are killed', () => {
  test.each(LONG ? [...plans, ...long] : plans)(
    '$name, $suite suite: every row is decided on once, and right',
    async ({ suite, kills, rows }) => {
      const { servers, directory } = deployment;
      const input = join(directory, 'simulated.csv');
      const recording = simulate({ seed: 5, rows, scenario: 'deterioration', channels: CHANNELS });
      writeFileSync(input, toCsv(recording));
      const tls = await servers.issueGateway(PATIENT);
      const state = join(directory, 'gateway');
      const connection = [
        ...['--sp', servers.address, '--tls', tls],
        ...['--state', state, ...newKeyFile(directory)],
      ];
      const enrolment = new Supervised('gateway', () => ({
        programme,
        arguments: [
          ...['enrol', ...connection, '--parameters-digest', servers.digest],
          ...['--insecure-key-bits', '--channels', CHANNELS.join(), ...WINDOW, ...PROTOCOLS[suite]],
        ],
      }));
      await enrolment.finished;

      const openings = new Openings();
      const left = [...kills];
      proxy.meddle = (call: PassingCall) => {
        openings.take(call);
        const [next] = left;
        if (next?.at !== call.method) return call.pass();
        left.shift();
        if (next.victim === 'gateway') gateway?.kill();
        else servers[next.victim].kill();
        return call.pass();
      };
      // One that was started again tells everything from the first row on.
      let output: string[] = [];
      gateway = new Supervised('gateway', () => {
        const lines: string[] = [];
        output = lines;
        return {
          programme,
          arguments: ['stream', ...connection, '--input', input, '--json'],
          onOutput: (line) => lines.push(line),
        };
      });
      await gateway.finished;

      expect(left).toEqual([]);
      const schema = selectChannels(CHANNELS);
      const policy = parsePolicy(
        {
          window: 8,
          baseline: 'rolling',
          retrainEvery: 4,
          thresholdScaled: scaledThreshold(0.975, CHANNELS.length),
          suite: 'reference',
          output: 'distance',
        },
        schema,
        'the test',
      );
      const expected = replay(recording.rows, schema, policy);
      const results = readResults(output);
      expectRows(results.rows, expected.map(withoutReason));
      const distinct = await openings.distinct(
        await deployment.masterKey(),
        await deployment.bcp(),
        // No public key is needed to open what is of the residue family.
        1n,
      );
      expect(distinct).toEqual({ ciphertexts: openings.count, values: openings.count });

      await servers.stop();
      const store = await openStore({
        location: { kind: 'file', file: servers.spDatabase },
        parameters: await deployment.parameters(),
        key: await keepStoreKey(servers.spDatabase),
        leaseMs: 1_000,
      });
      const decided = expected.filter((row) => !('skipped' in row)).length;
      expect(await store.samples.last(PATIENT)).toBe(decided);
      expect(await store.decisions.list(PATIENT, 1, rows)).toHaveLength(decided);
      await store.close();
    },
    LONG ? 600_000 : 120_000,
  );
});

function withoutReason(row: ReturnType<typeof replay>[number]) {
  if ('skipped' in row) return { index: row.index, skipped: true } as const;
  if ('learning' in row) return row;
  return { index: row.index, outlier: row.outlier, md2: row.md2 };
}
