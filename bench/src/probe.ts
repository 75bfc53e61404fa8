/**
 * Loaded into a server's process before its own code (`node --import`): writes down once a second how
 * long the event loop was held, how much memory the process has and how much processor time it took.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

import { PROBE_FILE_VARIABLE, type ProbeLine } from './probe-file.js';

/** How often to look, in milliseconds. */
const LOOK_MS = 2;
const WRITE_MS = 500;

const file = process.env[PROBE_FILE_VARIABLE];
if (file !== undefined && isMainThread) watch(file);

function watch(path: string): void {
  let worst = { stalledMs: 0, heldMs: 0, ranMs: 0 };
  let last = { at: performance.now(), ...ownThread() };
  setInterval(() => {
    const now = { at: performance.now(), ...ownThread() };
    const stalledMs = now.at - last.at - LOOK_MS;
    worst = {
      stalledMs: Math.max(worst.stalledMs, stalledMs),
      heldMs: Math.max(worst.heldMs, stalledMs - (now.waitedMs - last.waitedMs)),
      ranMs: Math.max(worst.ranMs, now.ranMs - last.ranMs),
    };
    last = now;
  }, LOOK_MS).unref();
  setInterval(() => {
    const { user, system } = process.cpuUsage();
    const line: ProbeLine = {
      pid: process.pid,
      at: Date.now(),
      rssBytes: process.memoryUsage.rss(),
      cpuMs: (user + system) / 1000,
      mainThreadCpuMs: ownThread().ranMs,
      ...worst,
    };
    worst = { stalledMs: 0, heldMs: 0, ranMs: 0 };
    appendFileSync(path, `${JSON.stringify(line)}\n`);
  }, WRITE_MS).unref();
}

/**
 * How long this thread ran, and was ready to run and had no processor, in milliseconds; 0 where
 * nobody says.
 */
function ownThread(): { ranMs: number; waitedMs: number } {
  try {
    const [ran, waited] = readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ');
    return { ranMs: Number(ran) / 1e6, waitedMs: Number(waited) / 1e6 };
  } catch {
    return { ranMs: 0, waitedMs: 0 };
  }
}
