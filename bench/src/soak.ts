/** A long run: does the memory of the servers stay where it is? */
import { setTimeout as sleep } from 'node:timers/promises';

import { loadEngine, type ModularEngine } from '@duoveil/common/modular';

import { Deployment } from './deployment.js';
import { rounded, thisMachine, type Machine } from './machine.js';
import type { BenchOptions } from './options.js';

/** The servers' memory after so many decisions. */
export interface SoakStep {
  readonly scored: number;
  readonly spMiB: number;
  readonly cspMiB: number;
}

/** What a long run came to. */
export interface SoakResult {
  readonly machine: Machine;
  readonly keyBits: number;
  readonly engine: ModularEngine['kind'];
  readonly window: number;
  readonly soak: {
    readonly scored: number;
    readonly scoresPerSecond: number;
    readonly steps: readonly SoakStep[];
    /** The longest turns of the event loops, in milliseconds. */
    readonly eventLoopRanMs: { readonly sp: number; readonly csp: number };
  };
}

const PATIENTS = 8;
const UNDER_WAY = 4;
const STOCK = 24;
const STEPS = 20;

/** Score `samples` samples, and look at the memory twenty times. */
export async function soak(
  { keyBits, window, engine: engineChoice }: BenchOptions,
  samples: number,
  notice: (line: string) => void,
  signal: AbortSignal,
): Promise<SoakResult> {
  const engine = loadEngine(engineChoice);
  const machine = thisMachine(engine);
  const deployment = await Deployment.start({ keyBits, engineChoice, engine, notice });
  try {
    const patients = [];
    for (let i = 0; i < PATIENTS; i++) {
      const patient = await deployment.enrol('packed', window);
      await patient.train(window);
      await patient.prepare(STOCK);
      patients.push(patient);
    }
    const steps: SoakStep[] = [];
    const began = Date.now();
    const startedMs = performance.now();
    let scored = 0;
    for (let step = 1; step <= STEPS && !signal.aborted; step++) {
      let left = Math.round((step * samples) / STEPS) - scored;
      const decided = await Promise.all(
        patients.map((patient) => patient.stream(UNDER_WAY, () => !signal.aborted && left-- > 0)),
      );
      scored += decided.reduce((sum, count) => sum + count, 0);
      await sleep(600);
      const seen = await deployment.seen(began, Date.now());
      const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20);
      steps.push({
        scored,
        spMiB: mebibytes(seen.sp.rssBytes),
        cspMiB: mebibytes(seen.csp.rssBytes),
      });
      notice(JSON.stringify(steps.at(-1)));
    }
    const seconds = (performance.now() - startedMs) / 1000;
    const seen = await deployment.seen(began, Date.now());
    return {
      machine,
      keyBits,
      engine: engine.kind,
      window,
      soak: {
        scored,
        scoresPerSecond: rounded(scored / seconds),
        steps,
        eventLoopRanMs: { sp: rounded(seen.sp.ranMs), csp: rounded(seen.csp.ranMs) },
      },
    };
  } finally {
    await deployment.stop();
    await engine.close();
  }
}
