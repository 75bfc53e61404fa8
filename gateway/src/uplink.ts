/** The stream of encrypted samples to the service provider, kept up until it must not be. */
import type { ParametersDigest } from '@duoveil/common/bcp';
import { duoveilError, isDuoveilError } from '@duoveil/common/errors';
import type { RandomSource } from '@duoveil/common/random';
import { callBidi, isTransient, linkedAbort, systemClock } from '@duoveil/common/runtime';
import type {
  BidiCall,
  ClientMethod,
  Clock,
  Connection,
  LinkedAbort,
  Logger,
  PatientId,
  Sleep,
} from '@duoveil/common/runtime';
import { IngestRequest, IngestServiceService } from '@duoveil/proto';
import type { IngestResponse } from '@duoveil/proto';

import { Backoff } from './backoff.js';
import type { BackoffOptions } from './backoff.js';
import type { Spool } from './spool.js';
import { Watchdog } from './watchdog.js';
import { digestBytes, misbehaved, sequenceOf } from './wire.js';

/** What an uplink needs. */
export interface UplinkOptions {
  /** To the service provider. */
  readonly connection: Connection;
  readonly patient: PatientId;
  /** Of the parameters that the samples are encrypted under. */
  readonly parametersDigest: ParametersDigest;
  /** What is sent. A service provider that lacks acknowledged samples gets again what is kept of them. */
  readonly spool: Spool;
  readonly random: RandomSource;
  readonly logger: Logger;
  /**
   * Called each time a stream is open; the spool then knows what the service provider has. Samples
   * may be put from the first call on.
   */
  readonly onOpened?: (nextSequence: number) => void;
  /**
   * Is whoever puts samples able to put again what was acknowledged, from the number on that
   * `onOpened` is told? Then a service provider that lacks samples when the first stream is opened, its
   * store having been restored from a backup, gets them again also where the spool does not keep them.
   */
  readonly canRepeat?: boolean;
  /** Called with what the service provider's clock says, each time a stream is open. */
  readonly onServerTime?: (time: ServerTime) => void;
  readonly clock?: Clock;
  /** How long the answer to `open` may take, in milliseconds; by default 10 s. */
  readonly openTimeoutMs?: number;
  /** How long nothing may be acknowledged while something should be, in milliseconds; by default 30 s. */
  readonly progressTimeoutMs?: number;
  /** The pauses between streams. */
  readonly backoff?: Pick<BackoffOptions, 'firstMs' | 'longestMs'>;
  readonly sleep?: Sleep;
}

/** The service provider's clock, and between which moments here it was read; milliseconds since 1970. */
export interface ServerTime {
  readonly asked: number;
  readonly server: number;
  readonly answered: number;
}

/** Samples that are read from the spool at once. */
const PAGE = 16;

// Spooled samples are whole messages already: they are sent as they are, the same bytes each time.
const ingest: ClientMethod<Uint8Array, IngestResponse, true, true> = {
  ...IngestServiceService.ingest,
  requestSerialize: (bytes) => Buffer.from(bytes),
};

/**
 * Sends what is in the spool, and what comes into it, until the signal is aborted. Whatever may pass
 * (nobody there, not ready, too slow, stream ended) makes it connect again.
 * @returns never; it ends by throwing
 * @throws the signal's reason; SEQUENCE_GAP where the service provider has lost acknowledged samples
 * that the spool does not keep any more (with `canRepeat`: since the first stream was opened);
 * SEQUENCE_CONFLICT where it has samples that are not from here; any error of the service provider
 * that cannot pass by itself
 */
export async function runUplink(options: UplinkOptions, signal: AbortSignal): Promise<never> {
  const { random, logger, sleep } = options;
  const backoff = new Backoff({
    ...options.backoff,
    random,
    logger: logger.child({ stream: 'ingest' }),
    isRetryable,
    ...(sleep !== undefined && { sleep }),
  });
  let wasOpen = false;
  for (;;) {
    const stream: IngestStream = new IngestStream(options, backoff, !wasOpen);
    const failure: unknown = await stream.run(signal).catch((error: unknown) => error);
    wasOpen ||= stream.opened;
    await backoff.after(failure, signal);
  }
}

/** A full disk at the service provider passes when somebody sees to it; the spool holds until then. */
function isRetryable(error: unknown): boolean {
  return isTransient(error) || isDuoveilError(error, 'STORAGE_FULL');
}

/** One stream, from `open` to its end. */
class IngestStream {
  readonly #options: UplinkOptions;
  readonly #backoff: Backoff;
  readonly #isFirst: boolean;
  readonly #peer: string;
  readonly #clock: Clock;
  #askedAt = 0;
  /** The last sequence number that was sent on this stream; undefined until it is open. */
  #sent: number | undefined;

  constructor(options: UplinkOptions, backoff: Backoff, isFirst: boolean) {
    this.#options = options;
    this.#backoff = backoff;
    this.#isFirst = isFirst;
    this.#peer = options.connection.peer;
    this.#clock = options.clock ?? systemClock;
  }

  /** Has the service provider answered to `open`? */
  get opened(): boolean {
    return this.#sent !== undefined;
  }

  /** Never resolves but by throwing: the end of a stream is a failure too. */
  async run(parent: AbortSignal): Promise<never> {
    const { connection, openTimeoutMs = 10_000 } = this.#options;
    const life = linkedAbort(parent);
    const watchdog = new Watchdog(() => {
      life.abort(this.#tooSlow());
    });
    let sending: Promise<void> | undefined;
    try {
      const call = callBidi(connection, ingest, { signal: life.signal });
      watchdog.arm(openTimeoutMs);
      this.#askedAt = this.#clock.now().getTime();
      // A failure to send shows in the responses too, with its reason.
      call.send(this.#openMessage()).catch(() => undefined);
      for await (const response of call.responses) {
        if (this.#sent === undefined) {
          this.#sent = this.#open(response) - 1;
          watchdog.disarm();
          sending = this.#send(call, life, watchdog);
        } else this.#acknowledge(response, this.#sent, watchdog);
      }
      throw duoveilError('PEER_UNAVAILABLE', `the ${this.#peer} ended the stream`, {
        peer: this.#peer,
      });
    } finally {
      watchdog.disarm();
      life.abort(new Error('the stream is over'));
      life.release();
      await sending;
    }
  }

  #openMessage(): Uint8Array {
    const { patient, parametersDigest } = this.#options;
    const value = {
      patientId: patient,
      parametersDigest: digestBytes({ digest: parametersDigest }),
    };
    return IngestRequest.encode({ message: { $case: 'open', value } }).finish();
  }

  /** @returns the sequence number that comes first */
  #open({ message }: IngestResponse): number {
    const { spool, onOpened, onServerTime, logger, canRepeat = false } = this.#options;
    if (message?.$case !== 'opened') throw misbehaved(this.#peer, 'did not answer to `open`');
    const next = sequenceOf(message.value.nextSequence, 1, this.#peer);
    const server = sequenceOf(message.value.serverTimeMs, 0, this.#peer);
    onServerTime?.({ asked: this.#askedAt, server, answered: this.#clock.now().getTime() });
    if (next <= spool.acknowledged) this.#repeatFrom(next);
    // At the start the spool may be younger than the series: it may have been restored or removed. What
    // waits in it by then would be lost, unless it can be put again.
    const mayBeYounger = this.#isFirst && (canRepeat || spool.last === 0);
    if (next > spool.last + 1 && !mayBeYounger) throw this.#foreign(next);
    spool.acknowledge(next - 1);
    logger.info('stream open', { next, waiting: spool.size });
    onOpened?.(next);
    return next;
  }

  /** The service provider has lost acknowledged samples: its store was restored from a backup. */
  #repeatFrom(next: number): void {
    const { spool, logger, canRepeat = false } = this.#options;
    const { acknowledged, oldest } = spool;
    if (next >= oldest) spool.rewind(next - 1);
    else if (canRepeat && this.#isFirst) spool.restart(next - 1);
    else throw this.#lost(next);
    logger.warn('the service provider has lost samples that it had acknowledged: sent again', {
      from: next,
      through: acknowledged,
    });
  }

  #acknowledge({ message }: IngestResponse, sent: number, watchdog: Watchdog): void {
    const { spool } = this.#options;
    if (message?.$case !== 'acknowledged') {
      throw misbehaved(this.#peer, 'sent what is no acknowledgement');
    }
    const through = sequenceOf(message.value.sequence, 0, this.#peer);
    if (through > sent) throw misbehaved(this.#peer, 'acknowledged a sample that was not sent');
    if (through <= spool.acknowledged) return;
    spool.acknowledge(through);
    this.#backoff.reset();
    watchdog.disarm();
    if (through < sent) this.#awaitProgress(watchdog);
  }

  /** Sends until the stream's life is over. Never rejects: a failure here ends the stream. */
  async #send(
    call: BidiCall<Uint8Array, IngestResponse>,
    life: LinkedAbort,
    watchdog: Watchdog,
  ): Promise<void> {
    const { spool } = this.#options;
    let next = (this.#sent ?? 0) + 1;
    try {
      while (!life.signal.aborted) {
        await spool.waitFor(next, life.signal);
        for (const { sequence, bytes } of spool.from(next, PAGE)) {
          this.#sent = sequence;
          this.#awaitProgress(watchdog);
          next = sequence + 1;
          // A failure to send shows in the responses too, with its reason.
          if (!(await settled(call.send(bytes)))) return;
        }
      }
    } catch (error) {
      life.abort(error instanceof Error ? error : new Error('sending failed', { cause: error }));
    }
  }

  #awaitProgress(watchdog: Watchdog): void {
    watchdog.arm(this.#options.progressTimeoutMs ?? 30_000);
  }

  #tooSlow(): Error {
    const what = this.#sent === undefined ? 'open the stream' : 'acknowledge a sample';
    return duoveilError('DEADLINE_EXCEEDED', `the ${this.#peer} did not ${what} in time`, {
      peer: this.#peer,
    });
  }

  #lost(next: number): Error {
    const { canRepeat = false, spool } = this.#options;
    const remedy = canRepeat
      ? 'start the stream again, which sends them again'
      : 'restore a newer backup, or enrol a new patient with a state directory of its own';
    return duoveilError(
      'SEQUENCE_GAP',
      `the ${this.#peer} expects sample ${next}, but has acknowledged all up to ${spool.acknowledged}, and ` +
        `the oldest that is kept here is ${spool.oldest}: it has lost samples, or its store was replaced; ${remedy}`,
      { expected: BigInt(next) },
    );
  }

  #foreign(next: number): Error {
    const sequence = BigInt(next - 1);
    return duoveilError(
      'SEQUENCE_CONFLICT',
      `the ${this.#peer} has sample ${sequence} of this patient, which was not sent from here; is ` +
        'another gateway streaming for the same patient?',
      { sequence },
    );
  }
}

async function settled(promise: Promise<void>): Promise<boolean> {
  return promise.then(
    () => true,
    () => false,
  );
}
