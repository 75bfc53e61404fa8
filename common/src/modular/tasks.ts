import { multiPower, power } from './kernel.js';
import type { WorkerTask } from './worker-protocol.js';

/** Work through one share of a batch, wherever it is run. */
export function runTask(task: WorkerTask): bigint[] {
  switch (task.kind) {
    case 'powers':
      return task.jobs.map((job) => power(task.modulus, job));
    case 'multiPowers':
      return task.jobs.map((terms) => multiPower(task.modulus, terms));
  }
}
