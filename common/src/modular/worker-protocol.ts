import type { PowerJob } from './engine.js';

/** A share of one batch, as it travels to a worker thread. */
export type WorkerTask =
  | { readonly kind: 'powers'; readonly modulus: bigint; readonly jobs: readonly PowerJob[] }
  | {
      readonly kind: 'multiPowers';
      readonly modulus: bigint;
      readonly jobs: readonly (readonly PowerJob[])[];
    };

/** What the pool sends. */
export interface WorkerRequest {
  readonly id: number;
  readonly task: WorkerTask;
}

/** What the worker answers. */
export interface WorkerResponse {
  readonly id: number;
  readonly results: readonly bigint[];
}
