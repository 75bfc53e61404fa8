/** What servers log: warnings are passed on, and it says where the metrics are. */
import { z } from 'zod';

const LINE = z.object({
  level: z.string(),
  message: z.string(),
  service: z.string().optional(),
  address: z.string().optional(),
});

/** See the file's comment. */
export class ServerLog {
  /** The address of each server's metrics, by the server's name in the log. */
  readonly metrics = new Map<string, string>();
  readonly #notice: (line: string) => void;

  /** @param notice is given what is worth a look */
  constructor(notice: (line: string) => void) {
    this.#notice = notice;
  }

  read(line: string): void {
    const entry = parsed(line);
    if (entry === undefined || entry.level === 'warn' || entry.level === 'error') {
      this.#notice(line);
    } else if (entry.message === 'metrics' && entry.service && entry.address) {
      this.metrics.set(entry.service, entry.address);
    }
  }
}

function parsed(line: string): z.infer<typeof LINE> | undefined {
  try {
    return LINE.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
