/** Patients who move to another generation of keys, and go on as if nothing had been. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { ParametersDigest } from '@duoveil/common/bcp';
import {
  parsePolicy,
  scaledThreshold,
  selectChannels,
  type MonitoringPolicy,
} from '@duoveil/common/encoding';
import { systemRandom } from '@duoveil/common/random';
import {
  connect,
  parsePatientId,
  silentLogger,
  type PatientId,
  type Tls,
} from '@duoveil/common/runtime';
import { enrol, move, type MoveOptions, type Place } from '@duoveil/gateway/parts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { expectedResults, ToldRows } from '../src/faults/index.js';
import { cutAfter } from '../src/faults/moving.js';
import { resultOfEvent, resultOfLine, type RowResult } from '../src/faults/row-results.js';
import { SEALING_KEY } from '../src/faults/sealing-key.js';
import { SimulatedGateway } from '../src/faults/simulated-gateway.js';
import type { StreamEvent } from '../src/run/events.js';
import type { Successor } from '../src/parties/servers.js';
import { simulate, toCsv } from '../src/simulation/index.js';
import { Deployment, engine, identity } from './support/deployment.js';
import { duoveil, PACKED } from './support/duoveil.js';
import { newKeyFile } from './support/sealing.js';

const CHANNELS = ['HR', 'RESP', 'SpO2'];
const SCHEMA = selectChannels(CHANNELS);
const ROWS = 36;
const ROLLING = { window: 8, baseline: 'rolling', retrainEvery: 5 } as const;
const FIXED = { window: 8, baseline: 'fixed', retrainEvery: 0 } as const;

let deployment: Deployment;
let digest: ParametersDigest;
let successor: Successor;
beforeAll(async () => {
  deployment = await Deployment.start();
  digest = await deployment.servers.rotate();
  successor = await deployment.servers.startSuccessor(digest);
});
afterAll(() => deployment.close());

type Watching = typeof ROLLING | typeof FIXED;

function policyOf(watching: Watching, suite: 'packed' | 'reference'): MonitoringPolicy {
  const thresholdScaled = scaledThreshold(0.7, CHANNELS.length);
  const output = suite === 'packed' ? 'level' : 'distance';
  return parsePolicy({ ...watching, thresholdScaled, suite, output }, SCHEMA, 'the test');
}

const recordingOf = (seed: number) =>
  simulate({ seed, rows: ROWS, scenario: 'calm', channels: CHANNELS });

/** What comes after so many rows: from the row behind the last complete one on. */
function goneOnWith(expected: readonly RowResult[], rows: number): readonly RowResult[] {
  const decided = expected.slice(0, rows).findLastIndex((row) => !('skipped' in row));
  return expected.slice(decided + 1);
}

test('the command takes the baseline along, and the old directory is closed', async () => {
  const { servers, directory } = deployment;
  const recording = recordingOf(7);
  const expected = expectedResults({
    ...{ schema: SCHEMA, policy: policyOf(ROLLING, 'packed') },
    rows: recording.rows.map((row) => ({ ...row, seconds: 0 })),
  });
  const input = join(directory, 'vitals.csv');
  writeFileSync(input, toCsv(recording));
  const patient = parsePatientId('patient-1', 'patient');
  const own = ['--tls', await servers.issueGateway(patient), ...newKeyFile(directory)];
  const [old, moved] = [join(directory, 'old'), join(directory, 'moved')];
  const here = ['--sp', servers.address, '--state', old, ...own];
  const there = ['--sp', successor.address, '--state', moved, ...own];
  const stream = (where: readonly string[], rows = ROWS): readonly string[] => [
    ...['gateway', 'stream', ...where, '--input', input, '--limit', String(rows), '--json'],
  ];
  await succeed([
    ...['gateway', 'enrol', ...here, '--parameters-digest', servers.digest, ...PACKED],
    ...['--insecure-key-bits', '--channels', CHANNELS.join(), '--window', '8'],
    ...['--baseline', 'rolling', '--retrain-every', '5', '--quantile', '0.7'],
  ]);
  expect(resultsIn(await succeed(stream(here, 26)))).toEqual(expected.slice(0, 26));

  const moving = [
    ...['gateway', 'move', ...here, '--to-sp', successor.address, '--to-state', moved],
    ...['--parameters-digest', digest, '--insecure-key-bits'],
  ];
  // What does not open the keys here must not seal those there, which nobody can take back.
  const wrong = await duoveil([...moving, ...newKeyFile(join(directory, 'wrong'))]);
  expect(wrong.log.at(-1)).toContain('UNSEALING_FAILED');
  expect(existsSync(moved)).toBe(false);
  const said = await succeed(moving);
  expect(said[0]).toMatch(/^patient-1 has moved, with the \d+ samples behind the baseline$/);
  expect(await succeed(moving)).toEqual(said);

  expect(resultsIn(await succeed(stream(there)))).toEqual(goneOnWith(expected, 26));
  const refused = await duoveil(stream(here));
  expect(refused.code).toBe(2);
  expect(refused.log.at(-1)).toContain(`the state directory is ${moved} now`);
});

/** A patient with a gateway of this process, first at the one service provider and then at the other. */
class Bed {
  readonly expected: readonly RowResult[];
  readonly tls: Tls;
  readonly patient: PatientId;
  readonly policy: MonitoringPolicy;
  readonly from: Place;
  readonly to: Place;
  readonly #rows;

  private constructor(tls: Tls, patient: PatientId, seed: number, policy: MonitoringPolicy) {
    const { directory, servers } = deployment;
    this.tls = tls;
    this.patient = patient;
    this.policy = policy;
    this.from = this.#place(servers.address, join(directory, `from-${String(seed)}`));
    this.to = this.#place(successor.address, join(directory, `to-${String(seed)}`));
    this.#rows = recordingOf(seed).rows.map((row) => ({ ...row, seconds: 0 }));
    this.expected = expectedResults({ schema: SCHEMA, policy, rows: this.#rows });
  }

  static async enrol(seed: number, policy: MonitoringPolicy): Promise<Bed> {
    const patient = parsePatientId(`bed-${String(seed)}`, 'patient');
    const tls = await deployment.tls(identity('gateway', patient));
    const bed = new Bed(tls, patient, seed, policy);
    await bed.#enrol(bed.from, deployment.servers.digest);
    return bed;
  }

  /** Enrols the patient at the other one too, as somebody may who does not know better. */
  enrolThere(): Promise<unknown> {
    return this.#enrol(this.to, digest);
  }

  get common() {
    return { engine, random: systemRandom, logger: silentLogger(), insecureKeyBits: true };
  }

  /** What is told of so many rows that are handed out. */
  async stream({ connection, directory }: Place, wanted: readonly RowResult[]): Promise<void> {
    const { tls } = this;
    const told = new ToldRows(wanted);
    const { host, port } = connection.address;
    const gateway = new SimulatedGateway({
      ...{ address: `${host}:${String(port)}`, tls, engine, directory, rows: this.#rows },
      onEvent: (event) => {
        const result = resultOfEvent(event);
        if (result !== undefined) told.add(result);
      },
    });
    await gateway.start();
    gateway.release((wanted.at(-1)?.index ?? -1) + 1);
    await Promise.race([told.until(wanted.length), gateway.finished]);
    await gateway.stop();
    expect(told.wrong).toBeUndefined();
    expect(told.count).toBe(wanted.length);
  }

  move(options: Partial<MoveOptions> = {}, signal = new AbortController().signal) {
    const { from, to } = this;
    return move(
      { ...this.common, from, to, pinned: digest, secret: SEALING_KEY, ...options },
      signal,
    );
  }

  #enrol(place: Place, pinned: ParametersDigest): Promise<unknown> {
    const { tls, patient, policy, common } = this;
    return enrol({
      ...{ ...place, ...common, patient, trustDomain: tls.identity.trustDomain },
      ...{ schema: SCHEMA, policy, pinned },
      sealingSecret: () => Promise.resolve(SEALING_KEY),
    });
  }

  #place(address: string, directory: string): Place {
    return { connection: connect({ address, tls: this.tls, expectRole: 'sp' }), directory };
  }
}

describe('move', () => {
  test.each([
    ['a rolling baseline', 11, ROLLING, 'packed', 27],
    ['a fixed baseline', 12, FIXED, 'packed', 26],
    ['a baseline that is learnt still', 13, ROLLING, 'packed', 5],
    ['a patient of whom nothing is known', 14, FIXED, 'packed', 0],
    ['a rolling baseline in the reference suite', 15, ROLLING, 'reference', 21],
  ] as const)('%s goes on exactly', async (_name, seed, watching, suite, before) => {
    const bed = await Bed.enrol(seed, policyOf(watching, suite));
    const { from, to, expected } = bed;
    if (before > 0) await bed.stream(from, expected.slice(0, before));
    await bed.move();
    await bed.stream(to, goneOnWith(expected, before));
    // From the first row after the move on, each time.
    await bed.stream(to, goneOnWith(expected, before));
  });

  test('where a series was begun already, nobody moves to', async () => {
    const bed = await Bed.enrol(16, policyOf(FIXED, 'packed'));
    await bed.stream(bed.from, bed.expected.slice(0, 2));
    await bed.enrolThere();
    await bed.stream(bed.to, bed.expected.slice(0, 3));
    await expect(bed.move()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await bed.stream(bed.from, bed.expected.slice(0, 4));
  });

  test('one that is cut off at any point is gone on with', async () => {
    const bed = await Bed.enrol(21, policyOf(ROLLING, 'packed'));
    const { from, to, expected } = bed;
    await bed.stream(from, expected.slice(0, 24));
    let cuts = 0;
    for (let isMoved = false; !isMoved; cuts += 1) {
      const end = new AbortController();
      isMoved = await bed.move({ random: cutAfter(cuts, end) }, end.signal).then(
        () => true,
        () => false,
      );
    }
    // Making a key, sealing it, proving it, encrypting and spooling: each draws.
    expect(cuts).toBeGreaterThan(5);
    await bed.stream(to, goneOnWith(expected, 24));
  });
});

function resultsIn(output: readonly string[]): readonly (RowResult | undefined)[] {
  const lines = output.map((line) => JSON.parse(line) as StreamEvent);
  return lines.map(resultOfLine).filter((result) => result !== undefined);
}

async function succeed(parameters: readonly string[]): Promise<readonly string[]> {
  const { code, output, log } = await duoveil(parameters);
  expect(code, log.join('\n')).toBe(0);
  return output;
}
