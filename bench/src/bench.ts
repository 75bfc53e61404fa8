/** A whole benchmark: both suites as real processes, the counts, and the arithmetic by itself. */
import { setTimeout as sleep } from 'node:timers/promises';

import type { Output } from '@duoveil/common/encoding';
import { abortReason } from '@duoveil/common/runtime';
import { createPortableEngine, loadEngine, type ModularEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';

import { countSuite, type SuiteCounts } from './counts.js';
import { Deployment, SCHEMA } from './deployment.js';
import { rounded, thisMachine, type Machine } from './machine.js';
import { median } from './median.js';
import { nameOf, sumOf, type Counts, type Operation } from './operations.js';
import type { BenchOptions, SuiteName } from './options.js';
import { samplesOf } from './patient.js';
import { timeOf } from './primitives.js';
import type { Seen } from './probe-file.js';

/** What one server did while many patients streamed. */
export interface ServerLoad {
  /** Processor time a decision, of all threads. */
  readonly cpuMsPerScore: number;
  /** The part of it that the thread of the event loop took: everything but the arithmetic. */
  readonly mainThreadMsPerScore: number;
  readonly rssMiB: number;
  /** The longest that the event loop's thread computed between two turns. */
  readonly eventLoopRanMs: number;
  /** The longest time for which the event loop did not turn, without the wait for a processor. */
  readonly eventLoopHeldMs: number;
  /** The same with the wait for a processor. */
  readonly eventLoopStalledMs: number;
}

/** Times of one suite, in milliseconds: medians. */
export interface SuiteTimes {
  readonly trainMs: number;
  readonly scoreMs: number;
  /** Of the packed suite. */
  readonly scoresPerSecond?: number;
}

/** What `duoveil bench --json` prints. */
export interface BenchResult {
  readonly machine: Machine;
  readonly keyBits: number;
  readonly engine: ModularEngine['kind'];
  readonly window: number;
  /** `packed` is with distance output, `packedLevel` with level output. */
  readonly suites: Readonly<Partial<Record<SuiteName | 'packedLevel', SuiteTimes>>>;
  /** Milliseconds of single operations, by name. */
  readonly primitives: Readonly<Record<string, number>>;
  /** Of the packed suite; of the reference suite beside it. */
  readonly floorMs: {
    readonly train?: number;
    readonly score?: number;
    readonly referenceTrain?: number;
    readonly referenceScore?: number;
  };
  readonly counts: Readonly<
    Partial<Record<SuiteName, Record<keyof SuiteCounts, Record<string, number>>>>
  >;
  /** Of both servers, while many patients streamed: with distance output, and with level output. */
  readonly throughput?: Throughput & { readonly level: Throughput };
}

/** What both servers did meanwhile. */
export interface Throughput extends Readonly<Record<'csp' | 'sp', ServerLoad>> {
  readonly patients: number;
}

/** How much is measured. */
export interface Extent {
  /** Patients that are trained one after the other, the first ones only to warm up. */
  readonly trainings: { readonly warmUp: number; readonly measured: number };
  readonly scores: { readonly warmUp: number; readonly measured: number };
  /** Patients that stream at once, and samples of each that are under way. */
  readonly patients: number;
  readonly underWay: number;
  readonly referenceScores: { readonly warmUp: number; readonly measured: number };
}

export const EXTENT: Extent = {
  trainings: { warmUp: 6, measured: 10 },
  scores: { warmUp: 50, measured: 200 },
  patients: 16,
  underWay: 4,
  referenceScores: { warmUp: 1, measured: 5 },
};

/** Samples that a patient encrypts beforehand and sends in turns. */
const STOCK = 24;

/** Measure. @throws the signal's reason once that is aborted */
export async function bench(
  options: BenchOptions,
  notice: (line: string) => void,
  signal: AbortSignal,
  extent: Extent = EXTENT,
): Promise<BenchResult> {
  const engine = loadEngine(options.engine);
  const machine = thisMachine(engine);
  const { keyBits, window } = options;
  const goOn = (): void => {
    if (signal.aborted) throw abortReason(signal);
  };
  const stage = (what: string): void => {
    goOn();
    notice(what);
  };
  try {
    stage('counting operations and timing each by itself');
    const counts = await countsOf(options);
    const primitives = await primitivesOf(options, counts, engine.kind, goOn);

    stage('drawing a master key and starting both servers');
    const deployment = await Deployment.start({
      keyBits,
      engineChoice: engine.kind,
      engine,
      notice,
    });
    const measurement = new Measurement(deployment, window, extent, stage);
    try {
      const packed = options.suites.includes('packed')
        ? await measurement.packed('distance', options.seconds)
        : undefined;
      const level = packed && (await measurement.packed('level', options.seconds));
      const reference = options.suites.includes('reference')
        ? await measurement.reference()
        : undefined;
      return {
        machine,
        keyBits,
        engine: engine.kind,
        window,
        suites: {
          ...(reference && { reference: reference }),
          ...(packed && { packed: packed.times }),
          ...(level && { packedLevel: level.times }),
        },
        primitives: Object.fromEntries([...primitives].map(([name, ms]) => [name, rounded(ms)])),
        floorMs: floorsOf(counts, primitives),
        counts: Object.fromEntries(
          [...counts].map(([suite, { ingest, train, score }]) => [
            suite,
            { ingest: plain(ingest), train: plain(train), score: plain(score) },
          ]),
        ),
        ...(packed && level && { throughput: { ...packed.throughput, level: level.throughput } }),
      };
    } finally {
      await deployment.stop();
    }
  } finally {
    await engine.close();
  }
}

/** The measurements over running servers. */
class Measurement {
  readonly #deployment: Deployment;
  readonly #window: number;
  readonly #extent: Extent;
  readonly #stage: (what: string) => void;

  constructor(
    deployment: Deployment,
    window: number,
    extent: Extent,
    stage: (what: string) => void,
  ) {
    this.#deployment = deployment;
    this.#window = window;
    this.#extent = extent;
    this.#stage = stage;
  }

  async packed(
    output: Output,
    seconds: number,
  ): Promise<{
    times: SuiteTimes;
    throughput: Throughput;
  }> {
    const { trainings, scores, patients: many, underWay } = this.#extent;
    const patients = [];
    const trainMs: number[] = [];
    const suite = `packed suite, ${output} output`;
    this.#stage(`${suite}: training, one patient after the other`);
    while (patients.length < Math.max(many, trainings.warmUp + trainings.measured)) {
      const patient = await this.#deployment.enrol('packed', this.#window, output);
      trainMs.push(await patient.train(this.#window));
      patients.push(patient);
    }
    this.#stage(`${suite}: scoring, one sample at a time`);
    // The others have nothing to do meanwhile.
    const [first] = patients;
    if (first === undefined) throw new RangeError('there must be a patient');
    await first.prepare(STOCK);
    await first.pace(scores.warmUp);
    const scoreMs = median(await first.pace(scores.measured));

    this.#stage(`${suite}: ${many} patients at once for ${seconds} s`);
    const streaming = patients.slice(0, many);
    for (const patient of streaming) await patient.prepare(STOCK);
    await this.#together(streaming, underWay, Math.min(4, seconds));
    const from = Date.now();
    const started = performance.now();
    const decided = await this.#together(streaming, underWay, seconds);
    const wallMs = performance.now() - started;
    await sleep(1200);
    const seen = await this.#deployment.seen(from, Date.now());
    return {
      times: {
        trainMs: rounded(median(trainMs.slice(trainings.warmUp))),
        scoreMs: rounded(scoreMs),
        scoresPerSecond: rounded((1000 * decided) / wallMs),
      },
      throughput: {
        patients: streaming.length,
        csp: loadOf(seen.csp, decided),
        sp: loadOf(seen.sp, decided),
      },
    };
  }

  async reference(): Promise<SuiteTimes> {
    const { warmUp, measured } = this.#extent.referenceScores;
    this.#stage('reference suite: warming up');
    const smallest = SCHEMA.channels.length + 2;
    await (await this.#deployment.enrol('reference', smallest)).train(smallest);
    this.#stage('reference suite: training');
    const patient = await this.#deployment.enrol('reference', this.#window);
    const trainMs = await patient.train(this.#window);
    this.#stage('reference suite: scoring, one sample at a time');
    await patient.pace(warmUp);
    const scoreMs = median(await patient.pace(measured));
    return { trainMs: rounded(trainMs), scoreMs: rounded(scoreMs) };
  }

  async #together(
    patients: readonly { stream(underWay: number, goOn: () => boolean): Promise<number> }[],
    underWay: number,
    seconds: number,
  ): Promise<number> {
    const until = performance.now() + 1000 * seconds;
    const decided = await Promise.all(
      patients.map((patient) => patient.stream(underWay, () => performance.now() < until)),
    );
    return decided.reduce((sum, count) => sum + count, 0);
  }
}

function loadOf(
  { cpuMs, mainThreadCpuMs, rssBytes, ranMs, heldMs, stalledMs }: Seen,
  decided: number,
): ServerLoad {
  return {
    cpuMsPerScore: rounded(cpuMs / decided),
    mainThreadMsPerScore: rounded(mainThreadCpuMs / decided),
    rssMiB: Math.round(rssBytes / 2 ** 20),
    eventLoopRanMs: rounded(ranMs),
    eventLoopHeldMs: rounded(heldMs),
    eventLoopStalledMs: rounded(stalledMs),
  };
}

async function countsOf(options: BenchOptions): Promise<Map<SuiteName, SuiteCounts>> {
  const { keyBits, window, suites } = options;
  // What is counted does not depend on who computes it: the fastest there is.
  const engine = loadEngine();
  try {
    const [sample = [], ...learnt] = samplesOf(SCHEMA, window + 1);
    const script = { bits: keyBits, schema: SCHEMA, window: learnt, sample };
    const counts = new Map<SuiteName, SuiteCounts>();
    for (const suite of suites) counts.set(suite, await countSuite(suite, script, engine));
    return counts;
  } finally {
    await engine.close();
  }
}

/** One exponentiation by which all other times can be compared: half-length exponent modulo `N²`. */
function yardstick(keyBits: number, modulus: bigint): Operation {
  return {
    kind: 'power',
    modulus,
    modulusBits: 2 * keyBits,
    exponentBits: keyBits / 2,
    terms: 1,
  };
}

async function primitivesOf(
  { keyBits }: BenchOptions,
  counts: ReadonlyMap<SuiteName, SuiteCounts>,
  kind: ModularEngine['kind'],
  goOn: () => void,
): Promise<Map<string, number>> {
  const engine = kind === 'portable' ? createPortableEngine({ threads: 0 }) : loadEngine(kind);
  try {
    const operations = new Map<string, Operation>();
    for (const { ingest, train, score } of counts.values()) {
      for (const step of [ingest, train, score]) {
        for (const [name, { operation }] of step) operations.set(name, operation);
      }
    }
    const squared = [...operations.values()].find(({ modulusBits }) => modulusBits === 2 * keyBits);
    if (squared !== undefined) {
      const operation = yardstick(keyBits, squared.modulus);
      operations.set(nameOf(operation), operation);
    }
    const times = new Map<string, number>();
    for (const [name, operation] of operations) {
      goOn();
      times.set(name, await timeOf(operation, engine, systemRandom));
    }
    return new Map([...times].sort(([a], [b]) => (a < b ? -1 : 1)));
  } finally {
    await engine.close();
  }
}

function floorsOf(
  counts: ReadonlyMap<SuiteName, SuiteCounts>,
  primitives: ReadonlyMap<string, number>,
): BenchResult['floorMs'] {
  const packed = counts.get('packed');
  const reference = counts.get('reference');
  const floor = (step: Counts): number => rounded(sumOf(step, primitives));
  return {
    ...(packed && { train: floor(packed.train), score: floor(packed.score) }),
    ...(reference && {
      referenceTrain: floor(reference.train),
      referenceScore: floor(reference.score),
    }),
  };
}

function plain(counts: Counts): Record<string, number> {
  return Object.fromEntries([...counts].map(([name, { times }]) => [name, times]));
}
