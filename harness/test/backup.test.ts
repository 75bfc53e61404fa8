/** A service provider that lost its store, and goes on with a backup that was taken under load. */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { parsePolicy, scaledThreshold, selectChannels } from '@duoveil/common/encoding';
import { parsePatientId } from '@duoveil/common/runtime';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { replay } from '../src/oracle/index.js';
import { Supervised } from '../src/parties/supervised.js';
import { simulate, toCsv } from '../src/simulation/index.js';
import { backUpStore, restoreStore } from './support/backups.js';
import { Deployment, PATIENT } from './support/deployment.js';
import { PACKED, readResults } from './support/duoveil.js';
import { expectRows } from './support/recordings.js';
import { newKeyFile } from './support/sealing.js';

const programme = createRequire(import.meta.url).resolve('@duoveil/gateway/main');
const CHANNELS = ['HR', 'RESP', 'SpO2'];
const POLICY = {
  window: 6,
  baseline: 'rolling',
  retrainEvery: 5,
  thresholdScaled: scaledThreshold(0.975, CHANNELS.length),
  suite: 'reference',
  output: 'distance',
} as const;

let deployment: Deployment;
beforeEach(async () => {
  deployment = await Deployment.start();
});
afterEach(() => deployment.close());

/** A patient's gateway and recording. */
class Bed {
  readonly #recording;
  readonly #input: string;
  readonly #connection: readonly string[];

  private constructor(name: string, seed: number, tls: string) {
    const { directory, servers } = deployment;
    this.#recording = simulate({ seed, rows: 28, scenario: 'deterioration', channels: CHANNELS });
    this.#input = join(directory, `${name}.csv`);
    const state = join(directory, `state-${name}`);
    this.#connection = [
      ...['--sp', servers.address, '--tls', tls],
      ...['--state', state, ...newKeyFile(`${state}-key`)],
    ];
  }

  static async enrol(name: string, seed: number): Promise<Bed> {
    const tls = await deployment.servers.issueGateway(parsePatientId(name, 'patient'));
    const bed = new Bed(name, seed, tls);
    await new Supervised('gateway', () => ({
      programme,
      arguments: [
        ...['enrol', ...bed.#connection, '--parameters-digest', deployment.servers.digest],
        ...['--insecure-key-bits', '--channels', CHANNELS.join(), '--window', '6'],
        ...['--baseline', 'rolling', '--retrain-every', '5', ...PACKED],
      ],
    })).finished;
    return bed;
  }

  /** Streams so many rows. All that is told is right, from the first row on. */
  async stream(rows: number, onRow: (count: number) => void = () => undefined): Promise<void> {
    const part = { ...this.#recording, rows: this.#recording.rows.slice(0, rows) };
    writeFileSync(this.#input, toCsv(part));
    const output: string[] = [];
    await new Supervised('gateway', () => ({
      programme,
      arguments: ['stream', ...this.#connection, '--input', this.#input, '--json'],
      onOutput: (line) => {
        onRow(output.push(line));
      },
    })).finished;
    const schema = selectChannels(CHANNELS);
    const expected = replay(part.rows, schema, parsePolicy(POLICY, schema, 'the test'));
    expectRows(
      readResults(output).rows,
      expected.map((row) => ('skipped' in row ? { index: row.index, skipped: true } : row)),
    );
  }
}

test('every patient is continued exactly, though the gateways are ahead of the backup', async () => {
  const { directory } = deployment;
  const [first, second] = [await Bed.enrol(PATIENT, 5), await Bed.enrol('patient-2', 6)];
  const file = join(directory, 'sp.backup');
  let backup: ReturnType<typeof backUpStore> | undefined;
  await Promise.all([
    // Both are being decided on when it is taken.
    first.stream(18, (count) => {
      if (count === 9) backup = backUpStore(deployment, file);
    }),
    second.stream(18),
  ]);
  expect((await backup)?.['decisions']).toBeLessThan(36);
  // Acknowledged, and then lost.
  await first.stream(28);
  await restoreStore(deployment, file);
  await Promise.all([first.stream(28), second.stream(22)]);
});
