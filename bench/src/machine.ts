import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';

import type { ModularEngine } from '@duoveil/common/modular';

/** What a benchmark ran on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly node: string;
  readonly openssl: string;
  /** The engine, and what it uses of the processor. */
  readonly arithmetic: string;
  /** The average over the minute before: on a quiet machine next to 0. */
  readonly load: number;
}

export function thisMachine({ description }: ModularEngine): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    openssl: process.versions.openssl,
    arithmetic: description,
    load: rounded(loadavg()[0] ?? 0),
  };
}

/** Four significant digits: more would be noise. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
