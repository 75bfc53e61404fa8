/** A patient's move to another generation of keys, whatever happens on the way. */
import { join } from 'node:path';

import type { ParametersDigest } from '@duoveil/common/bcp';
import { isDuoveilError } from '@duoveil/common/errors';
import type { ModularEngine } from '@duoveil/common/modular';
import { systemRandom, type RandomSource } from '@duoveil/common/random';
import { connect, isTransient, retrying, silentLogger, type Tls } from '@duoveil/common/runtime';
import { move, type Moved, type Place } from '@duoveil/gateway/parts';

import { SEALING_KEY } from './sealing-key.js';

/** Whose move, and where to. */
export interface MovingOptions {
  readonly tls: Tls;
  readonly engine: ModularEngine;
  /** Of the service provider until now, or of what stands before it. */
  readonly address: string;
  /** The state directory until now. */
  readonly directory: string;
  /** Of the service provider of the next generation, or of what stands before it. */
  readonly nextAddress: string;
  readonly digest: ParametersDigest;
  /** The first try gives out after so many draws of random bytes, as by a power failure. */
  readonly draws: number;
  /** How long to try, in milliseconds. */
  readonly patienceMs: number;
}

/** Where the patient's gateway goes on, and with what. */
export interface Arrival {
  readonly directory: string;
  readonly moved: Moved;
}

/** Moves a patient: again, where a try was cut off, or a server was away or had no room on its disk. */
export async function moveStubbornly(options: MovingOptions): Promise<Arrival> {
  const { tls, engine, digest, draws, patienceMs } = options;
  const place = (address: string, directory: string): Place => ({
    connection: connect({ address, tls, expectRole: 'sp' }),
    directory,
  });
  const from = place(options.address, options.directory);
  const to = place(options.nextAddress, join(options.directory, 'moved'));
  const end = new AbortController();
  const once = async (random: RandomSource, signal: AbortSignal): Promise<Moved> => {
    const { moved } = await move(
      {
        ...{ from, to, random, engine, pinned: digest, secret: SEALING_KEY },
        ...{ insecureKeyBits: true, logger: silentLogger() },
        backoff: { firstMs: 20, longestMs: 250 },
      },
      signal,
    );
    if (moved === undefined) throw new Error('a patient was moved without a trace');
    return moved;
  };
  try {
    const cut = await once(cutAfter(draws, end), end.signal).catch(() => undefined);
    const uncut = new AbortController();
    const moved =
      cut ??
      (await retrying(() => once(systemRandom, uncut.signal), {
        ...{ deadlineMs: patienceMs, baseMs: 500, maxMs: 500, random: systemRandom },
        isRetryable: (error) => isTransient(error) || isDuoveilError(error, 'STORAGE_FULL'),
      }));
    return { directory: to.directory, moved };
  } finally {
    from.connection.close();
    to.connection.close();
  }
}

/** A source of randomness that gives out after so many draws, and takes everything with it. */
export function cutAfter(draws: number, end: AbortController): RandomSource {
  let left = draws;
  return {
    bytes: (length) => {
      left -= 1;
      if (left >= 0) return systemRandom.bytes(length);
      const error = new Error('the power is off');
      end.abort(error);
      throw error;
    },
  };
}
