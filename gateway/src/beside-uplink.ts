/** What a run does while the uplink sends: the two begin and end together. */
import { linkedAbort, metrics } from '@duoveil/common/runtime';

import { runUplink } from './uplink.js';
import type { UplinkOptions } from './uplink.js';

/** An uplink, and the work beside it. */
export interface BesideUplinkOptions {
  readonly uplink: Omit<UplinkOptions, 'onOpened'>;
  /** Wait with the work until the first stream is open, and the spool knows where the series stands? */
  readonly waitUntilOpen: boolean;
  /** Begins the work's parts, which end where their signal is aborted. */
  readonly work: (signal: AbortSignal) => readonly Promise<void>[];
}

/**
 * Keeps the uplink up until every part of the work is done; meanwhile the spool's size is observed.
 * Settles when nothing of it runs any more.
 * @throws what the first part that fails throws, or the uplink, which ends by failing only: as
 * {@link runUplink}
 */
export async function besideUplink(
  { uplink, waitUntilOpen, work }: BesideUplinkOptions,
  parent: AbortSignal,
): Promise<void> {
  const life = linkedAbort(parent);
  const unobserve = metrics.spool.observe((report) => {
    report(uplink.spool.size);
  });
  let onOpened = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    onOpened = resolve;
  });
  const sending = runUplink({ ...uplink, onOpened }, life.signal);
  const parts: Promise<void>[] = [sending];
  try {
    if (waitUntilOpen) await Promise.race([opened, sending]);
    const working = work(life.signal);
    parts.push(...working);
    await Promise.race([Promise.all(working), sending]);
  } finally {
    life.abort(new Error('the run is over'));
    life.release();
    unobserve();
    await Promise.allSettled(parts);
  }
}
