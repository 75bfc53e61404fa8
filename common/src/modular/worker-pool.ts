import { Worker } from 'node:worker_threads';

import type { WorkerRequest, WorkerResponse, WorkerTask } from './worker-protocol.js';

// The same relative address from src/ and from dist/: workers always run the built file.
const WORKER_FILE = new URL('../../dist/modular/portable-worker.js', import.meta.url);

interface Waiting {
  readonly request: WorkerRequest;
  readonly resolve: (results: readonly bigint[]) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A few worker threads that take shares of batches, first come, first served. Threads are started
 * when first needed and do not keep the process alive while they are idle.
 */
export class WorkerPool {
  readonly #size: number;
  readonly #idle: Worker[] = [];
  readonly #all = new Set<Worker>();
  readonly #running = new Map<Worker, Waiting>();
  readonly #queue: Waiting[] = [];
  #nextId = 0;
  #closed = false;

  constructor(size: number) {
    this.#size = size;
  }

  /** How many threads the pool may have. */
  get size(): number {
    return this.#size;
  }

  /** Run one share on some thread. */
  run(task: WorkerTask): Promise<readonly bigint[]> {
    if (this.#closed) return Promise.reject(new Error('the arithmetic engine is closed'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ request: { id: this.#nextId++, task }, resolve, reject });
      this.#dispatch();
    });
  }

  /** Stop all threads; what still waits is rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    const error = new Error('the arithmetic engine was closed');
    for (const waiting of [...this.#queue.splice(0), ...this.#running.values()]) {
      waiting.reject(error);
    }
    this.#running.clear();
    await Promise.all([...this.#all].map((worker) => worker.terminate()));
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const worker = this.#idle.pop() ?? (this.#all.size < this.#size ? this.#start() : undefined);
      if (worker === undefined) return;
      const waiting = this.#queue.shift();
      if (waiting === undefined) return;
      this.#running.set(worker, waiting);
      worker.ref();
      worker.postMessage(waiting.request);
    }
  }

  #start(): Worker {
    const worker = new Worker(WORKER_FILE);
    this.#all.add(worker);
    worker.on('message', ({ id, results }: WorkerResponse) => {
      const waiting = this.#running.get(worker);
      if (waiting?.request.id !== id) return;
      this.#running.delete(worker);
      worker.unref();
      this.#idle.push(worker);
      waiting.resolve(results);
      this.#dispatch();
    });
    worker.on('error', (error: Error) => {
      this.#all.delete(worker);
      this.#running.get(worker)?.reject(error);
      this.#running.delete(worker);
      this.#dispatch();
    });
    return worker;
  }
}
