/** The whole simulation: batches of operation lists, one after another, and what they come to. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { runBatch, type BatchOptions, type BatchResult, type ListFailure } from './batch.js';
import { FaultCounts } from './fault-counts.js';
import { GatewayCertificates } from './gateway-certificates.js';
import { planList } from './operations.js';
import type { SharedDatabase } from './server-faults.js';

/** Which lists are run. */
export interface BatchPlan {
  readonly batch: number;
  readonly lists: readonly number[];
  /** Do two SPs share a database? Only where there is one to share. */
  readonly shared?: boolean;
}

/** What the simulation came to. */
export interface SimulationResult {
  readonly lists: number;
  readonly samples: number;
  readonly decisions: number;
  readonly failures: readonly ListFailure[];
  readonly counts: FaultCounts;
  readonly seconds: number;
  /** The servers' last log lines of batches in which something failed. */
  readonly log: readonly string[];
}

/** The most lists that share servers: each restart goes on with all patients so far. */
const LISTS_IN_A_BATCH = 200;

/** Lists from a seed on, in batches. */
export function planBatches(firstSeed: number, lists: number): BatchPlan[] {
  const batches = Math.ceil(lists / LISTS_IN_A_BATCH);
  return Array.from({ length: batches }, (_, i) => {
    const from = firstSeed + i * LISTS_IN_A_BATCH;
    const count = Math.min(LISTS_IN_A_BATCH, firstSeed + lists - from);
    return { batch: from, lists: Array.from({ length: count }, (__, j) => from + j) };
  });
}

/** Of a batch that could not be brought to its end, there is nothing but that to say. */
function unfinished(batch: number): (error: unknown) => BatchResult {
  return (error) => ({
    ...{ lists: 0, samples: 0, decisions: 0, log: [] },
    failures: [{ batch, list: undefined, why: error instanceof Error ? error.message : 'failed' }],
  });
}

/** Runs batches one after another. */
export async function simulateFaults(
  plans: readonly BatchPlan[],
  options: Pick<BatchOptions, 'engine' | 'readStore'> & {
    readonly makeDatabase?: () => Promise<SharedDatabase>;
  },
): Promise<SimulationResult> {
  const directory = await mkdtemp(join(tmpdir(), 'duoveil-faults-tls-'));
  const counts = new FaultCounts();
  const startedMs = performance.now();
  const results: BatchResult[] = [];
  try {
    const gateways = await GatewayCertificates.create(directory);
    for (const { batch: seed, lists, shared } of plans) {
      const database = shared === true ? await options.makeDatabase?.() : undefined;
      const batch = { ...options, seed, lists: lists.map(planList), gateways };
      const all = database === undefined ? batch : { ...batch, database };
      results.push(await runBatch(all, counts).catch(unfinished(seed)));
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  const total = (of: (result: BatchResult) => number): number =>
    results.reduce((sum, result) => sum + of(result), 0);
  return {
    lists: total(({ lists }) => lists),
    samples: total(({ samples }) => samples),
    decisions: total(({ decisions }) => decisions),
    failures: results.flatMap(({ failures }) => failures),
    counts,
    seconds: (performance.now() - startedMs) / 1000,
    log: results.flatMap(({ log }) => log),
  };
}
