/** A series of live readings: it is gone on with, where a recording is read again. */
import { duoveilError } from '@duoveil/common/errors';

import type { Spool } from './spool.js';
import type { GatewayState } from './state.js';

/** What stands in a spool for the recording that a series comes from. */
const LIVE = 'a live source';

/**
 * Notes that a spool's series is a live one. A recording is read from its first row each time: its
 * series cannot be gone on with.
 * @throws INPUT_INVALID where the series was begun with a recording; STORAGE_FULL, STORAGE_FAILED
 */
export function beginLiveSeries({ patient }: GatewayState, spool: Spool): void {
  const { last, recording } = spool;
  if (last > 0 && recording !== undefined && recording !== LIVE) {
    throw duoveilError(
      'INPUT_INVALID',
      `the series of ${patient} was begun with the recording ${recording}, and is that ` +
        'recording only: enrol another patient, with a state directory of its own, for a live source',
      { source: LIVE },
    );
  }
  spool.beginRecording(LIVE);
}
