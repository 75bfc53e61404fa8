/** Clocks that differ: the device's and the service provider's from the one here. Reported, not corrected. */
import { metrics, systemClock } from '@duoveil/common/runtime';
import type { Clock, Logger } from '@duoveil/common/runtime';

import type { ServerTime } from './uplink.js';

/** How far clocks may differ without a word, in milliseconds. */
export const TOLERATED_MS = 2000;

/** Other clocks: the device's, by the times of its readings, and the service provider's. */
const CLOCKS = { device: 'device', serviceProvider: 'service_provider' } as const;
type ClockName = keyof typeof CLOCKS;

/** How far each clock is ahead of the one here, in milliseconds; undefined where that is not known. */
export type ClockOffsets = Readonly<Partial<Record<ClockName, number | undefined>>>;

/** See the file's comment. */
export class ClockWatch {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #offsets: Partial<Record<ClockName, number>> = {};
  readonly #reported = new Set<ClockName>();
  readonly #unobserve: () => void;

  constructor(logger: Logger, clock: Clock = systemClock) {
    this.#logger = logger;
    this.#clock = clock;
    this.#unobserve = metrics.clockOffset.observe((report) => {
      for (const name of Object.keys(CLOCKS) as ClockName[]) {
        const offset = this.#offsets[name];
        if (offset !== undefined) report(offset / 1000, { 'duoveil.clock': CLOCKS[name] });
      }
    });
  }

  get offsets(): ClockOffsets {
    return { ...this.#offsets };
  }

  /** A reading with this time has just come in. One from the past may also have been under way. */
  reading(measuredAt: number): void {
    this.#take('device', measuredAt - this.#clock.now().getTime(), {
      beyond: "the device's clock differs, or its readings come late",
      within: "the device's readings come with the right time again",
    });
  }

  /** The service provider has told its time, somewhere between question and answer. */
  serverTime({ asked, server, answered }: ServerTime): void {
    // Nothing is known of when between the two it was read: within them there is no difference.
    const offset = Math.max(0, server - answered) + Math.min(0, server - asked);
    this.#take('serviceProvider', offset, {
      beyond: "the service provider's clock differs",
      within: "the service provider's clock agrees again",
    });
  }

  close(): void {
    this.#unobserve();
  }

  #take(name: ClockName, offsetMs: number, words: { beyond: string; within: string }): void {
    this.#offsets[name] = offsetMs;
    const differs = Math.abs(offsetMs) > TOLERATED_MS;
    if (differs === this.#reported.has(name)) return;
    if (differs) {
      this.#reported.add(name);
      this.#logger.warn(words.beyond, { aheadMs: offsetMs });
    } else {
      this.#reported.delete(name);
      this.#logger.info(words.within, { aheadMs: offsetMs });
    }
  }
}
