/** The entry point of a worker thread: takes shares of batches, answers with their results. */
import { parentPort } from 'node:worker_threads';

import { runTask } from './tasks.js';
import type { WorkerRequest, WorkerResponse } from './worker-protocol.js';

parentPort?.on('message', ({ id, task }: WorkerRequest) => {
  const response: WorkerResponse = { id, results: runTask(task) };
  parentPort?.postMessage(response);
});
