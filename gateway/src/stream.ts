/** `duoveil gateway stream`: from the settings' source to lines of output. */
import type { ModularEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { systemClock } from '@duoveil/common/runtime';
import type { Connection, Logger } from '@duoveil/common/runtime';

import { ClockFile } from './clock-file.js';
import { jsonLine, jsonLiveLine, readableLine, readableLiveLine } from './format.js';
import { writeLine } from './output.js';
import type { RunSummary } from './run-events.js';
import { runLive } from './run-live.js';
import { runRecording } from './run-recording.js';
import type { SelectedSource } from './sources/index.js';
import type { Spool } from './spool.js';
import type { GatewayState } from './state.js';
import { readTold, ToldFile } from './told-file.js';

/** What streaming needs. */
export interface StreamOptions {
  readonly selected: SelectedSource;
  readonly state: GatewayState;
  /** The state directory. */
  readonly directory: string;
  readonly spool: Spool;
  readonly connection: Connection;
  readonly engine: ModularEngine;
  readonly logger: Logger;
  readonly realtime: boolean;
  /** Write NDJSON, or lines for people? */
  readonly json: boolean;
}

/**
 * Streams and prints until the end.
 * @throws as {@link runRecording} and {@link runLive}
 */
export async function stream(options: StreamOptions, signal: AbortSignal): Promise<RunSummary> {
  const { selected, directory, json, ...needs } = options;
  const common = { ...needs, random: systemRandom };
  if (selected.kind === 'recording') {
    const { source, recording } = selected;
    const emit = printing(json ? jsonLine : readableLine);
    return runRecording({ ...common, source, recording, emit }, signal);
  }
  const clocks = new ClockFile(directory, options.logger);
  const told = new ToldFile(directory, options.logger, systemClock);
  const toldBefore = await readTold(directory);
  const emit = printing(json ? jsonLiveLine : readableLiveLine);
  const onClocks = clocks.take.bind(clocks);
  const onTold = told.take.bind(told);
  const live = { source: selected.open, emit, onClocks, toldBefore, onTold };
  try {
    return await runLive({ ...common, ...live }, signal);
  } finally {
    await told.close();
    await clocks.close();
  }
}

function printing<E>(format: (event: E) => string | undefined): (event: E) => Promise<void> {
  return async (event) => {
    const line = format(event);
    if (line !== undefined) await writeLine(line);
  };
}
