import { isDuoveilError, toDuoveilError } from '@duoveil/common/errors';
import { metrics, type Logger, type Sleep } from '@duoveil/common/runtime';

import type { Alarm } from '../alarms/alarm.js';

/** Whose alarms are told. */
export interface AlarmSource {
  /** Those that have not been told as they are now, the oldest first. */
  untold(): readonly Alarm[];
  /**
   * One was told, as it was.
   * @throws DuoveilError `PATIENT_ELSEWHERE` where another process tells from now on
   */
  told(alarm: Alarm): Promise<void>;
}

/** Tells of alarms. */
export interface AlarmOutlet {
  /** There is something to tell: at once, or as soon as that is possible. */
  offer(source: AlarmSource): void;
}

/** Sends one alarm. Rejects where it was not taken. */
export type SendAlarm = (alarm: Alarm, signal: AbortSignal) => Promise<void>;

/** How long to wait after a failure, in milliseconds. */
const PAUSE_MS = { first: 1_000, longest: 60_000 } as const;

/** Alarms that are sent at the same time. */
const AT_ONCE = 8;

/** What an outlet works with. */
export interface OutletEnvironment {
  readonly send: SendAlarm;
  readonly sleep: Sleep;
  readonly logger: Logger;
  /** Ends it. What is not told by then is told by the next process. */
  readonly stop: AbortSignal;
}

/**
 * Tells each patient's alarms in order, again and again until they are taken. It keeps nothing itself:
 * what has been told is in the patients' books, so at most the last one is told twice after a crash, and a
 * receiver that was away for long gets each alarm's last state.
 */
export class Outlet implements AlarmOutlet {
  readonly #environment: OutletEnvironment;
  readonly #telling = new Map<AlarmSource, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #free = AT_ONCE;

  constructor(environment: OutletEnvironment) {
    this.#environment = environment;
  }

  offer(source: AlarmSource): void {
    // Whoever tells looks again before they end.
    if (this.#telling.has(source) || this.#environment.stop.aborted) return;
    this.#telling.set(source, this.#tell(source));
  }

  /** Resolves when nothing is being told any more. */
  async stopped(): Promise<void> {
    await Promise.all(this.#telling.values());
  }

  async #tell(source: AlarmSource): Promise<void> {
    const { sleep, stop } = this.#environment;
    let pauseMs: number = PAUSE_MS.first;
    // Whoever offers is not held up by what is done about it.
    await Promise.resolve();
    for (;;) {
      const [alarm] = source.untold();
      if (alarm === undefined || stop.aborted) break;
      try {
        await this.#inTurn(() => this.#send(alarm));
        metrics.webhooks.add(1);
        await source.told(alarm);
        pauseMs = PAUSE_MS.first;
      } catch (error) {
        if (isDuoveilError(error, 'PATIENT_ELSEWHERE') || isAborted(stop)) break;
        const { logger } = this.#environment;
        metrics.webhooks.add(1, { 'error.type': toDuoveilError(error).code });
        logger.warn('an alarm was not told and will be again', { error, alarm: alarm.id, pauseMs });
        await sleep(pauseMs, stop).catch(() => undefined);
        pauseMs = Math.min(2 * pauseMs, PAUSE_MS.longest);
      }
    }
    this.#telling.delete(source);
  }

  #send(alarm: Alarm): Promise<void> {
    const { send, stop } = this.#environment;
    return send(alarm, stop);
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
    try {
      await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/** Asked anew: it changes while something is waited for. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
