/** A service provider that is restored from a backup while live gateways stream to it. */
import { createRequire } from 'node:module';
import { join } from 'node:path';

import {
  DEFAULT_LEVEL_QUANTILES,
  isOutlier,
  scaledThreshold,
  selectChannels,
} from '@duoveil/common/encoding';
import { parsePatientId } from '@duoveil/common/runtime';
import { connect } from '@duoveil/gateway';
import type { Decision, Gateway } from '@duoveil/gateway';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { replay } from '../src/oracle/index.js';
import { Observed } from '../src/parties/observed.js';
import { simulate } from '../src/simulation/index.js';
import { backUpStore, restoreStore } from './support/backups.js';
import { Deployment } from './support/deployment.js';
import { newKeyFile } from './support/sealing.js';

const programme = createRequire(import.meta.url).resolve('@duoveil/gateway/main');
const CHANNELS = ['HR', 'RESP', 'SpO2'];
const BASELINE = { window: 6, baseline: 'rolling', retrainEvery: 5 } as const;
const ROWS = 28;

/** The readings of a patient who gets worse. */
const readings = (seed: number) =>
  simulate({ seed, rows: ROWS, scenario: 'deterioration', channels: CHANNELS }).rows;

/** What has to be decided on them: each once, in order. */
function oracle(rows: ReturnType<typeof readings>): unknown[] {
  const [first = 0n, ...higher] = DEFAULT_LEVEL_QUANTILES.map((quantile) =>
    scaledThreshold(quantile, CHANNELS.length),
  );
  const policy = { ...BASELINE, thresholdScaled: first };
  return replay(rows, selectChannels(CHANNELS), policy).map((row, i) => {
    const sequence = i + 1;
    if (!('exact' in row)) return { sequence };
    const exceeded = [first, ...higher].filter((threshold) => isOutlier(row.exact, threshold));
    return { sequence, level: exceeded.length };
  });
}

let deployment: Deployment;
beforeEach(async () => {
  deployment = await Deployment.start();
});
afterEach(() => deployment.close());

/** A patient who is enrolled: where the gateway's things are. */
async function enrolled(name: string) {
  const { directory, servers } = deployment;
  const tls = await servers.issueGateway(parsePatientId(name, 'patient'));
  const state = join(directory, `state-${name}`);
  const [, keyFile = ''] = newKeyFile(`${state}-key`);
  const where = { sp: servers.address, tls, state, keyFile, logLevel: 'error' } as const;
  await using gateway = await connect(where);
  await gateway.enrol({
    ...{ channels: CHANNELS, ...BASELINE, suite: 'packed', output: 'level' },
    ...{ parametersDigest: servers.digest, insecureKeyBits: true },
  });
  return where;
}

type Where = Awaited<ReturnType<typeof enrolled>>;

/** The next decisions, in the form of the oracle's. */
async function take(decisions: AsyncGenerator<Decision, void>, count: number): Promise<unknown[]> {
  const taken: unknown[] = [];
  while (taken.length < count) {
    const { value } = await decisions.next();
    if (value === undefined) throw new Error('the decisions have ended');
    const { sequence } = value;
    if (value.kind !== 'scored') taken.push({ sequence });
    else taken.push({ sequence, level: 'level' in value.statistic && value.statistic.level });
  }
  return taken;
}

/** A gateway that reads standard input, and the decisions that it has told. */
class Command {
  readonly #process: Observed;

  constructor({ sp, tls, state, keyFile }: Where) {
    this.#process = new Observed({
      programme,
      arguments: [
        ...['stream', '--sp', sp, '--tls', tls, '--state', state, '--key-file', keyFile],
        ...['--source', 'ndjson', '--input', '-', '--json', '--log-level', 'warn'],
      ],
    });
  }

  write(rows: ReturnType<typeof readings>): void {
    for (const { cells } of rows) this.#process.input.write(`${JSON.stringify(cells)}\n`);
  }

  get told(): unknown[] {
    return this.#process.output
      .map((line) => JSON.parse(line) as { sequence?: number; level?: number })
      .flatMap(({ sequence, level }) => (sequence === undefined ? [] : [{ sequence, level }]));
  }

  until(count: number): Promise<void> {
    return this.#process.until(() => this.told.length >= count);
  }

  /** The end of the input, and of the process. */
  async end(): Promise<readonly string[]> {
    this.#process.input.end();
    expect((await this.#process.ended).code).toBe(0);
    return this.#process.log;
  }

  dispose(): Promise<void> {
    return this.#process.dispose();
  }
}

test('live gateways go on by themselves, and every sample is decided on as before', async () => {
  const file = join(deployment.directory, 'sp.backup');
  const [ours, theirs] = [readings(5), readings(6)];
  const [first, second] = [await enrolled('patient-1'), await enrolled('patient-2')];
  const command = new Command(first);
  try {
    await using library = await connect(second);
    const decisions = library.decisions();
    const told: unknown[] = [];
    const send = async (from: number, to: number): Promise<void> => {
      command.write(ours.slice(from, to));
      await sendAll(library, theirs.slice(from, to));
    };
    const hear = async (from: number, to: number): Promise<void> => {
      told.push(...(await take(decisions, to - from)));
      await command.until(to);
    };

    await send(0, 9);
    await hear(0, 9);
    await backUpStore(deployment, file);
    // Acknowledged, decided, told; and then lost.
    await send(9, 19);
    await hear(9, 19);
    await restoreStore(deployment, file);
    await send(19, ROWS);
    await hear(19, ROWS);

    // Whoever reads has each decision once.
    expect(command.told).toEqual(oracle(ours));
    expect(told).toEqual(oracle(theirs));
    const log = await command.end();
    expect(log.filter((line) => line.includes('sent again'))).toHaveLength(1);
    // The service provider has all of them again, and the same.
    expect(await take(library.decisions(), ROWS)).toEqual(oracle(theirs));
    await using afterwards = await connect(first);
    expect(await take(afterwards.decisions(), ROWS)).toEqual(oracle(ours));
  } finally {
    await command.dispose();
  }
});

async function sendAll(gateway: Gateway, rows: ReturnType<typeof readings>): Promise<void> {
  for (const { cells } of rows) {
    const values = Object.fromEntries(CHANNELS.map((name) => [name, Number(cells[name])]));
    await gateway.send({ values });
  }
}
