/** A ward in real time: how late are decisions, and do the servers keep up? */
import { setMaxListeners } from 'node:events';

import { loadEngine, type ModularEngine } from '@duoveil/common/modular';
import { abortReason, systemSleep } from '@duoveil/common/runtime';

import { deepestBacklog, type DeepestBacklog } from './backlog.js';
import { Deployment } from './deployment.js';
import { rounded, thisMachine, type Machine } from './machine.js';
import type { BenchOptions, LoadPlan } from './options.js';
import type { Patient } from './patient.js';
import { seenBetween, type ProbeLine } from './probe-file.js';
import { memoryTrend, timesOf, type MemoryTrend, type Times } from './timeline.js';
import { streamInTime, WardRecord } from './ward.js';

/** What a process took. */
export interface ProcessLoad {
  /** Processor time by wall time: 1 is one core, all the time. */
  readonly cores: number;
}

/** What a server took. */
export interface ServerProcessLoad extends ProcessLoad {
  readonly memory: MemoryTrend;
}

/** What a ward came to. */
export interface LoadResult {
  readonly machine: Machine;
  readonly keyBits: number;
  readonly engine: ModularEngine['kind'];
  readonly window: number;
  readonly load: LoadPlan & {
    /** Accepted samples after which a baseline is learnt anew. */
    readonly retrainEvery: number;
    readonly decisions: number;
    /** Decisions that had not come a minute after the last sample was due: more than 0 is overload. */
    readonly missing: number;
    /** Decisions of each level. */
    readonly levels: Readonly<Record<string, number>>;
    /** Decisions without a level: there should be none. */
    readonly unscored: number;
    readonly trainings: number;
    /** Milliseconds of a training, as the SP measures it. */
    readonly trainMs: Times;
    /** Milliseconds from a sample's leaving the gateway to its decision there. */
    readonly decisionMs: Times;
    /** The same from the moment at which the sample was due, with its encryption. */
    readonly fromDueMs: Times;
    /** Looked at once a second. */
    readonly deepestBacklog: DeepestBacklog;
    readonly sp: ServerProcessLoad;
    readonly csp: ServerProcessLoad;
    /** All gateways, in one process. */
    readonly gateways: ProcessLoad;
  };
}

/** A baseline is learnt anew after so many windows. */
const WINDOWS_A_TRAINING = 2;

/** Patients who enrol and learn at once. */
const AT_ONCE = 4;

/** How long the last decisions are waited for, in milliseconds. */
const PATIENCE_MS = 60_000;

/**
 * Watch a ward. Everybody is enrolled and has a model first; then they begin one after the other, over as
 * long as it takes to be trained again, so that trainings are spread as they would be; what is measured
 * begins when all of them stream.
 * @throws DuoveilError of whoever fails; the signal's reason once that is aborted
 */
export async function load(
  options: BenchOptions,
  plan: LoadPlan,
  notice: (line: string) => void,
  signal: AbortSignal,
): Promise<LoadResult> {
  const { keyBits, window } = options;
  const engine = loadEngine(options.engine);
  const machine = thisMachine(engine);
  const retrainEvery = WINDOWS_A_TRAINING * window;
  notice('drawing a master key and starting both servers');
  const deployment = await Deployment.start({
    ...{ keyBits, engine, notice },
    engineChoice: engine.kind,
    asDeployed: true,
  });
  try {
    notice(`enrolling ${plan.patients} patients; each learns its first baseline`);
    const patients = await ward(deployment, plan.patients, window, retrainEvery, signal);
    const measured = await watch(deployment, patients, { ...plan, retrainEvery }, notice, signal);
    return {
      machine,
      keyBits,
      engine: engine.kind,
      window,
      load: { ...plan, retrainEvery, ...measured },
    };
  } finally {
    await deployment.stop();
    await engine.close();
  }
}

/** Patients with a first model: their first windows are sent at once. */
async function ward(
  deployment: Deployment,
  count: number,
  window: number,
  retrainEvery: number,
  signal: AbortSignal,
): Promise<Patient[]> {
  const patients: Patient[] = [];
  let left = count;
  const admit = async (): Promise<void> => {
    while (left-- > 0) {
      if (signal.aborted) throw abortReason(signal);
      const baseline = { baseline: 'rolling', retrainEvery } as const;
      const patient = await deployment.enrol('packed', window, 'level', baseline);
      await patient.train(window);
      patients.push(patient);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, admit));
  return patients;
}

type Measured = Omit<LoadResult['load'], keyof LoadPlan | 'retrainEvery'>;

async function watch(
  deployment: Deployment,
  patients: readonly Patient[],
  { rate, seconds, retrainEvery }: LoadPlan & { readonly retrainEvery: number },
  notice: (line: string) => void,
  signal: AbortSignal,
): Promise<Measured> {
  const periodMs = 1000 / rate;
  const rampMs = periodMs * retrainEvery;
  const beginMs = performance.now();
  const recordMs = beginMs + rampMs;
  const endMs = recordMs + 1000 * seconds;
  notice(`they begin over ${Math.round(rampMs / 1000)} s; then ${seconds} s are measured`);

  const record = new WardRecord();
  // Everything ends together: when all is decided or overdue, with a failure or an interruption.
  const end = new AbortController();
  const until = AbortSignal.any([signal, end.signal]);
  // Each patient listens.
  setMaxListeners(0, until);
  const streams = patients.map((patient, i) => {
    const share = i / patients.length;
    // Whole periods spread the trainings, the rest spreads samples over the period.
    const startMs = beginMs + (Math.floor((share * rampMs) / periodMs) + share) * periodMs;
    return streamInTime(patient, { startMs, periodMs, recordMs, endMs }, record, until);
  });
  const overdue = systemSleep(endMs + PATIENCE_MS - beginMs, until);
  try {
    const all = Promise.all(streams);
    const [observed] = await Promise.all([
      observe(deployment, recordMs, endMs, until),
      Promise.race([all, overdue]),
    ]);
    return {
      ...observed,
      decisions: record.decisionMs.length,
      missing: patients.length * Math.ceil(seconds * rate) - record.decisionMs.length,
      levels: record.levels,
      unscored: record.unscored,
      trainings: record.trainMs.length,
      trainMs: timesOf(record.trainMs),
      decisionMs: timesOf(record.decisionMs),
      fromDueMs: timesOf(record.dueMs),
    };
  } finally {
    end.abort();
    await Promise.allSettled([overdue]);
  }
}

/** Look at the processes between two moments (`performance.now()`). */
async function observe(
  deployment: Deployment,
  fromMs: number,
  toMs: number,
  signal: AbortSignal,
): Promise<Pick<Measured, 'deepestBacklog' | 'sp' | 'csp' | 'gateways'>> {
  await systemSleep(Math.max(0, fromMs - performance.now()), signal);
  const from = Date.now();
  const startedMs = performance.now();
  const before = process.cpuUsage();
  const over = new AbortController();
  const backlog = deepestBacklog(deployment.metrics, AbortSignal.any([signal, over.signal]));
  await Promise.race([backlog, systemSleep(Math.max(0, toMs - performance.now()), signal)]);
  over.abort();
  const { user, system } = process.cpuUsage(before);
  const wallMs = performance.now() - startedMs;
  const lines = await deployment.probes();
  const to = Date.now();
  const { lagMs, samples } = await backlog;
  return {
    deepestBacklog: { lagMs: rounded(lagMs), samples },
    sp: serverLoad(lines, deployment.servers.sp.pid, from, to),
    csp: serverLoad(lines, deployment.servers.csp.pid, from, to),
    gateways: { cores: rounded((user + system) / 1000 / wallMs) },
  };
}

function serverLoad(
  lines: readonly ProbeLine[],
  pid: number | undefined,
  from: number,
  to: number,
): ServerProcessLoad {
  const own = lines.filter((line) => line.pid === pid && line.at <= to);
  // The look before the beginning is where it began.
  const before = Math.max(0, own.filter(({ at }) => at < from).length - 1);
  const looks = own.slice(before);
  const sinceMs = looks[0]?.at ?? from;
  const { cpuMs } = seenBetween(looks, pid, sinceMs, to);
  const spanMs = (looks.at(-1)?.at ?? to) - sinceMs;
  return { cores: rounded(cpuMs / spanMs), memory: memoryTrend(looks) };
}
