import type { Health, Logger, Sleep } from '@duoveil/common/runtime';

/** What a watch on the store needs. */
export interface StoreWatchOptions {
  /** Asks the store something. Rejects where it does not answer. */
  readonly ask: () => Promise<void>;
  readonly health: Pick<Health, 'setStatus'>;
  readonly sleep: Sleep;
  readonly logger: Logger;
  /** Ends the watch; the health stays as it is from then on. */
  readonly signal: AbortSignal;
}

/** How often the store is asked, in milliseconds: as often as readiness is looked at. */
const EVERY_MS = 2_000;

/**
 * Keeps a server's health true: without its store it can do no work, and is not ready.
 * Resolves when it is ended.
 */
export async function watchStore(options: StoreWatchOptions): Promise<void> {
  const { ask, health, sleep, logger, signal } = options;
  let answered = true;
  for (;;) {
    try {
      await sleep(EVERY_MS, signal);
    } catch {
      return;
    }
    const error = await ask().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (signal.aborted) return;
    if ((error === undefined) === answered) continue;
    answered = error === undefined;
    health.setStatus('', answered ? 'SERVING' : 'NOT_SERVING');
    if (answered) logger.info('the database answers again');
    else logger.warn('not ready: the database does not answer', { error });
  }
}
