/** What a run tells about its recording, row by row, and what it comes to in the end. */
import type { MonitoringPolicy, Output, Suite } from '@duoveil/common/encoding';

import type { Outcome } from './decisions.js';
import { RunningMedian } from './median.js';

/** What became of the row or sample at a place. */
type OutcomeEvent<Place> = Place &
  (
    | { readonly kind: 'learning' }
    | { readonly kind: 'skipped'; readonly reason: string }
    | Extract<Outcome, { kind: 'scored' }>
  );

/** What became of a data row. `index` is its position in the recording, from 0. */
export type RowEvent = OutcomeEvent<{ readonly index: number }>;

/** A baseline has been trained. */
export interface TrainedEvent {
  readonly kind: 'trained';
  /** The model's number, from 1. */
  readonly model: number;
  readonly trainMs: number;
}

/** An event of a run of a recording. */
export type RunEvent = RowEvent | TrainedEvent;

/** An event of a live run. Rows have no number there, but samples have their place in the series. */
export type LiveEvent = TrainedEvent | OutcomeEvent<{ readonly sequence: number }> | SkippedLiveRow;

/** A row that was not complete: no sample was made of it. */
interface SkippedLiveRow {
  readonly kind: 'skipped';
  readonly sequence?: undefined;
  readonly reason: string;
  /** When it was measured, where that is known; milliseconds since 1970. */
  readonly measuredAt: number | undefined;
}

/** The event of a sample that was decided, as the row or sample at `place`. */
export function outcomeEvent<Place extends object>(
  place: Place,
  outcome: Outcome,
): OutcomeEvent<Place> {
  switch (outcome.kind) {
    case 'learning':
      return { ...place, kind: 'learning' };
    case 'unscorable':
      return { ...place, kind: 'skipped', reason: 'the sample could not be scored' };
    case 'scored':
      return { ...place, ...outcome };
  }
}

/** What a run came to. */
export interface RunSummary {
  /** Data rows. */
  readonly rows: number;
  /** Rows that the baseline was first learnt from. */
  readonly learning: number;
  readonly scored: number;
  readonly outliers: number;
  readonly skipped: number;
  /** Median time of a training, in milliseconds; null where there was none. */
  readonly trainMs: number | null;
  /** Median time from a sample to its decision, in milliseconds; null where none was scored. */
  readonly scoreMsMedian: number | null;
  /** Bytes of the message that carries a sample. */
  readonly bytesPerSample: number;
  readonly suite: Suite;
  readonly output: Output;
  /** Bits of the modulus. */
  readonly keyBits: number;
}

/** Counts events. */
export class Tally {
  readonly #count = { learning: 0, scored: 0, skipped: 0 };
  readonly #trainMs = new RunningMedian();
  readonly #scoreMs = new RunningMedian();
  #outliers = 0;

  /** Takes the next event. */
  add(event: RunEvent | LiveEvent): void {
    if (event.kind === 'trained') {
      this.#trainMs.add(event.trainMs);
      return;
    }
    this.#count[event.kind] += 1;
    if (event.kind !== 'scored') return;
    this.#scoreMs.add(event.latencyMs);
    if (event.outlier) this.#outliers += 1;
  }

  /** What it comes to. */
  summary(
    policy: Pick<MonitoringPolicy, 'suite' | 'output'>,
    bytesPerSample: number,
    keyBits: number,
  ): RunSummary {
    const { learning, scored, skipped } = this.#count;
    return {
      rows: learning + scored + skipped,
      learning,
      scored,
      outliers: this.#outliers,
      skipped,
      trainMs: this.#trainMs.value,
      scoreMsMedian: this.#scoreMs.value,
      bytesPerSample,
      suite: policy.suite,
      output: policy.output,
      keyBits,
    };
  }
}
