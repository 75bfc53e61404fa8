/** How far behind a service provider is, by its own metrics. */
import { systemSleep } from '@duoveil/common/runtime';

/** How often to look, in milliseconds. */
const LOOK_MS = 1000;

/** The most that was seen. */
export interface DeepestBacklog {
  /** How long the oldest sample that waited had been waiting, in milliseconds. */
  readonly lagMs: number;
  /** How many samples waited. */
  readonly samples: number;
}

/** Look once a second until the signal is aborted. */
export async function deepestBacklog(
  address: string,
  signal: AbortSignal,
): Promise<DeepestBacklog> {
  let deepest: DeepestBacklog = { lagMs: 0, samples: 0 };
  while (!signal.aborted) {
    const response = await fetch(`http://${address}/metrics`);
    const text = await response.text();
    deepest = {
      lagMs: Math.max(deepest.lagMs, 1000 * valueOf(text, 'duoveil_lag')),
      samples: Math.max(deepest.samples, valueOf(text, 'duoveil_samples_pending')),
    };
    await systemSleep(LOOK_MS, signal).catch(() => undefined);
  }
  return deepest;
}

/** A metric's value in Prometheus' text format. @throws RangeError where it is not there */
export function valueOf(text: string, name: string): number {
  for (const line of text.split('\n')) {
    const [, found, value] = /^([a-z_]+)(?:\{[^}]*\})? (\S+)/.exec(line) ?? [];
    if (found === name || found?.startsWith(`${name}_`) === true) {
      // A unit may follow the name.
      if (found === name || /_(?:seconds|milliseconds)$/.test(found)) return Number(value);
    }
  }
  throw new RangeError(`there is no ${name} among the metrics`);
}
