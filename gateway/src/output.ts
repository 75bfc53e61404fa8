/** Where results go: standard output, a line at a time. */
import type { Writable } from 'node:stream';

/** Writes a line; resolves when it has been handed to the system, so that a reader has it at once. */
export function writeLine(line: string, stream: Writable = process.stdout): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(`${line}\n`, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}
