/** What the fault simulation says at its end. */
import { planList } from './operations.js';
import type { SimulationResult } from './simulation.js';

const COMMAND = 'npm run test:faults';

/** Log lines of the servers that are shown where something failed. */
const LOG_LINES = 60;

/** The table, and every list that failed with what there is to know about it. */
export function reportOf(result: SimulationResult): string {
  const { lists, samples, decisions, failures, counts, seconds, log } = result;
  const rows: [string, number | string][] = [
    ['operation lists', lists],
    ['samples', samples],
    ['decisions in the store', decisions],
    ['lists that failed', failures.length],
    ['seconds', seconds.toFixed(0)],
    ...counts.entries(),
  ];
  const table = rows.map(([name, value]) => `${name.padEnd(32)}${String(value).padStart(8)}`);
  const failed = failures.flatMap(({ batch, list, why }) =>
    list === undefined
      ? ['', `batch ${batch}: ${why}`, `  run it again: DUOVEIL_FAULT_SEED=${batch} ${COMMAND}`]
      : [
          '',
          `list ${list} of batch ${batch}: ${why}`,
          `  run it alone: DUOVEIL_FAULT_SEED=${batch}:${list} ${COMMAND}`,
          `  ${JSON.stringify(planList(list).operations)}`,
        ],
  );
  return [...table, ...failed, ...log.slice(-LOG_LINES), ''].join('\n');
}
