import { setFlagsFromString } from 'node:v8';

/**
 * Keeps the part of the heap where objects begin as small as it starts, instead of letting it grow to
 * some 32 MB: a sample a second does not need more, and a small board has better uses for it. V8 reads
 * this setting whenever that part would grow, so it may be set in a process that runs.
 */
export function keepMemorySmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
