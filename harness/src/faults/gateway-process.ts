/** A gateway that is a process of its own; it is started again when it is killed. */
import { createRequire } from 'node:module';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Supervised } from '../parties/supervised.js';
import { parseEvent, type StreamEvent } from '../run/events.js';
import type { PlannedPatient } from './planned-patient.js';
import { SEALING_KEY_HEX } from './sealing-key.js';

const require = createRequire(import.meta.url);

/** What it is started with. */
export interface GatewayProcessOptions {
  readonly address: string;
  /** Directory of its certificate. */
  readonly tls: string;
  readonly patient: PlannedPatient;
  /** A state directory, of a patient who is enrolled. */
  readonly directory: string;
  /** Called before each start. */
  readonly onStart: () => void;
  readonly onEvent: (event: StreamEvent) => void;
}

/** See the file's comment. */
export class GatewayProcess {
  readonly #process: Supervised;
  /** Rejects where it gives up; resolves when it has come to the last row. */
  readonly finished: Promise<void>;

  private constructor(process: Supervised) {
    this.#process = process;
    this.finished = process.finished;
  }

  static async start(options: GatewayProcessOptions): Promise<GatewayProcess> {
    const { address, tls, patient, directory, onStart, onEvent } = options;
    const input = join(directory, 'input.csv');
    const keyFile = join(directory, 'sealing.key');
    await writeFile(input, csvOf(patient));
    await writeFile(keyFile, SEALING_KEY_HEX);
    const process = new Supervised('gateway', () => {
      onStart();
      return {
        programme: require.resolve('@duoveil/gateway/main'),
        arguments: [
          'stream',
          ...['--sp', address, '--tls', tls, '--state', directory],
          ...['--key-file', keyFile, '--input', input, '--json', '--log-level', 'error'],
        ],
        onOutput: (line) => {
          onEvent(parseEvent(line));
        },
      };
    });
    return new GatewayProcess(process);
  }

  /** Ends it as a power failure would; another one begins. */
  kill(): void {
    this.#process.kill();
  }

  /** Ends it. */
  async stop(): Promise<void> {
    await this.#process.stop();
  }
}

function csvOf({ schema, rows }: PlannedPatient): string {
  const names = schema.channels.map(({ name }) => name);
  const lines = rows.map(({ cells }) => names.map((name) => cells[name] ?? 'NaN').join(','));
  return [names.join(','), ...lines, ''].join('\n');
}
