/** Patients with real gateways, whose readings come evenly for as long as they are wanted. */
import { join } from 'node:path';

import { parsePolicy, scaledThreshold, selectChannels } from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import { systemRandom } from '@duoveil/common/random';
import { connect, parsePatientId, silentLogger } from '@duoveil/common/runtime';
import { enrol, type RunEvent } from '@duoveil/gateway/parts';

import { expectedResults, ToldRows } from '../../src/faults/index.js';
import { resultOfEvent } from '../../src/faults/row-results.js';
import { SEALING_KEY } from '../../src/faults/sealing-key.js';
import { SimulatedGateway } from '../../src/faults/simulated-gateway.js';
import { simulate } from '../../src/simulation/index.js';
import { engine, identity, type Deployment } from './deployment.js';

const CHANNELS = ['HR', 'RESP', 'SpO2'];

/** Between two readings of a patient, in milliseconds. */
const PACE_MS = 200;

const WINDOW = 8;

/** More than any test waits for. */
const ROWS = 2_000;

/** One patient. */
interface Bed {
  readonly gateway: SimulatedGateway;
  readonly told: ToldRows;
  /** When each row was handed to the gateway. */
  readonly handedMs: number[];
  /** The longest that one has waited for its decision, of late. */
  longestMs: number;
}

/** See the file's comment. */
export class Ward {
  readonly #beds: readonly Bed[];
  readonly #timer: NodeJS.Timeout;

  private constructor(beds: readonly Bed[]) {
    this.#beds = beds;
    this.#timer = setInterval(() => {
      this.#handOut();
    }, PACE_MS);
  }

  /**
   * Enrols so many patients, and begins. The first one's distances are told, which CSPs have in their
   * audit logs, and the others' levels.
   */
  static async start(deployment: Deployment, address: string, count: number): Promise<Ward> {
    const schema = selectChannels(CHANNELS);
    const thresholdScaled = scaledThreshold(0.975, CHANNELS.length);
    const rolling = { window: WINDOW, baseline: 'rolling', retrainEvery: 16 };
    const policies = (['distance', 'level'] as const).map((output) =>
      parsePolicy({ ...rolling, thresholdScaled, suite: 'packed', output }, schema, 'the test'),
    );
    const recordings = Array.from({ length: count }, (_, i) =>
      simulate({ seed: i + 1, rows: ROWS, scenario: 'deterioration', channels: CHANNELS }),
    );
    const enrolled = await Promise.all(
      recordings.map(async (recording, i) => {
        const policy = elementAt(policies, Math.min(i, 1));
        // The ward paces them, and not their times.
        const rows = recording.rows.map((row) => ({ ...row, seconds: 0 }));
        const patient = parsePatientId(`bed-${i}`, 'patient');
        const tls = await deployment.tls(identity('gateway', patient));
        const directory = join(deployment.directory, patient);
        const connection = connect({ address, tls, expectRole: 'sp' });
        await enrol({
          ...{ connection, patient, directory, schema, policy, engine },
          trustDomain: tls.identity.trustDomain,
          pinned: deployment.servers.digest,
          insecureKeyBits: true,
          sealingSecret: () => Promise.resolve(SEALING_KEY),
          random: systemRandom,
          logger: silentLogger(),
        });
        connection.close();
        return { tls, directory, rows, expected: expectedResults({ schema, policy, rows }) };
      }),
    );
    const beds = enrolled.map(({ expected, ...gateway }) => {
      const told = new ToldRows(expected);
      const onEvent = (event: RunEvent): void => {
        const result = resultOfEvent(event);
        if (result === undefined) return;
        told.add(result);
        const waitedMs = performance.now() - (bed.handedMs[result.index] ?? NaN);
        bed.longestMs = Math.max(bed.longestMs, waitedMs);
      };
      const parts = { ...gateway, address, engine, onEvent };
      const bed: Bed = { gateway: new SimulatedGateway(parts), told, handedMs: [], longestMs: 0 };
      return bed;
    });
    for (const { gateway } of beds) await gateway.start();
    return new Ward(beds);
  }

  /** From now on, what was longest is looked for anew. */
  measure(): void {
    for (const bed of this.#beds) bed.longestMs = 0;
  }

  /** The longest that a row has waited for its decision since then, in milliseconds. */
  get longestMs(): number {
    return Math.max(...this.#beds.map(({ longestMs }) => longestMs));
  }

  /** Waits until every patient is scored. */
  async scored(): Promise<void> {
    await this.#until(() => 2 * WINDOW);
  }

  /** Waits until there is a decision on some more rows, and none waits for one. */
  async goOn(): Promise<void> {
    await this.#until(({ handedMs }) => handedMs.length + 5);
    while (this.#beds.some(({ told, handedMs }) => told.count < handedMs.length)) {
      await this.#until(({ handedMs }) => handedMs.length);
    }
  }

  /**
   * No row comes any more; when there is a decision on all, the gateways end.
   * @returns what was wrong, of each patient with whom something was; and how many rows were decided on
   */
  async stop(): Promise<{ readonly wrong: readonly string[]; readonly decided: number }> {
    clearInterval(this.#timer);
    await Promise.all(this.#beds.map(({ told, handedMs }) => told.until(handedMs.length)));
    await Promise.all(this.#beds.map(({ gateway }) => gateway.stop()));
    return {
      wrong: this.#beds.flatMap(({ told }) => told.wrong ?? []),
      decided: this.#beds.reduce((sum, { told }) => sum + told.complete, 0),
    };
  }

  async #until(rows: (bed: Bed) => number): Promise<void> {
    await Promise.all(
      this.#beds.map((bed) => Promise.race([bed.told.until(rows(bed)), bed.gateway.finished])),
    );
  }

  #handOut(): void {
    for (const { gateway, handedMs } of this.#beds) {
      if (handedMs.length === ROWS) continue;
      handedMs.push(performance.now());
      gateway.release(1);
    }
  }
}
