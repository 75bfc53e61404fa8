/**
 * Encrypted samples, on disk before they are sent: each is encrypted once, survives a crash, and is
 * sent again, if need be, in the very same bytes. Those that are acknowledged are kept for a while, for
 * a service provider that is restored from a backup. At rest all are sealed once more, under a key of
 * the spool's own.
 */
import { isDuoveilError } from '@duoveil/common/errors';
import { systemRandom } from '@duoveil/common/random';
import type { RandomSource } from '@duoveil/common/random';
import { Bell, linkedAbort, silentLogger, systemSleep } from '@duoveil/common/runtime';
import type { Logger, PatientId, Sleep } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';

import { SpoolCipher } from './spool-cipher.js';
import type { SpoolProgress } from './spool-cipher.js';
import { SpoolFile } from './spool-file.js';
import type { SealedSample } from './spool-file.js';

/** A sample in the form in which it is sent. */
export interface SpooledSample {
  /** Its place in the patient's series, from 1. */
  readonly sequence: number;
  /** The whole message, as it goes on the wire. */
  readonly bytes: Uint8Array;
  /** When it was measured, in milliseconds since 1970; it is not given back with the sample. */
  readonly measuredAt?: number | undefined;
}

/** Bounds of a spool: a day and more of one sample a second. */
export interface SpoolBounds {
  /** The most samples it holds, 1 or more; by default 86,400. */
  readonly maxSamples?: number | undefined;
  /**
   * The most acknowledged samples that it keeps, 0 or more; by default 86,400. They take the room that
   * others leave: of a spool that is full they go first, the oldest before the others.
   */
  readonly keepSamples?: number | undefined;
  /** The most bytes its file may have, 1 MiB or more; by default 256 MiB. */
  readonly maxBytes?: number | undefined;
}

/** Whose a spool is, what seals it, and its bounds. */
export interface SpoolOptions extends SpoolBounds {
  readonly patient: PatientId;
  /** 32 uniform bytes that seal this spool and nothing else. */
  readonly key: Secret<Uint8Array>;
  readonly random?: RandomSource;
  /** Told when the spool is full, and that it goes on. */
  readonly logger?: Logger;
  readonly sleep?: Sleep;
}

/** See {@link SpoolBounds}. */
export const DEFAULT_MAX_SAMPLES = 86_400;

/** See {@link SpoolBounds}. */
export const DEFAULT_KEEP_SAMPLES = 86_400;

/** See {@link SpoolBounds}. */
export const DEFAULT_MAX_BYTES = 256 * 1024 * 1024;

/** The least that {@link SpoolBounds.maxBytes} may be: a batch of the largest samples has room in it. */
export const LEAST_MAX_BYTES = 1024 * 1024;

/** Acknowledgements that are not on disk yet: losing them costs no more than sending again. */
const ACKNOWLEDGEMENTS_IN_MEMORY = 64;

/** Kept samples that make room together where the file may not grow; so often as that, and no more. */
const DROPPED_AT_ONCE = 64;

/** How often to look whether a full disk has room again, where nothing is acknowledged meanwhile. */
const FULL_PAUSE_MS = 1000;

/** A spool: consecutive samples, the oldest of them acknowledged first. */
export class Spool {
  readonly maxSamples: number;
  readonly #keepSamples: number;
  readonly #file: SpoolFile;
  readonly #cipher: SpoolCipher;
  readonly #logger: Logger;
  readonly #sleep: Sleep;
  readonly #bell = new Bell();
  #acknowledged: number;
  #acknowledgedOnDisk: number;
  /** Samples up to this number are not here any more. */
  #dropped: number;
  #last: number;
  #recording: string | null;
  #measuredAt: number | null;

  /**
   * Opens a spool; makes it where there is none. It is locked for as long as it is open.
   * @throws UNSEALING_FAILED for another key; SPOOL_DAMAGED; STORAGE_FAILED (also where another process
   * has it open, or where it is not encrypted), STORAGE_FULL
   */
  static open(path: string, options: SpoolOptions): Spool {
    const { maxBytes = DEFAULT_MAX_BYTES, random = systemRandom } = options;
    const cipher = new SpoolCipher(options.key, options.patient, random);
    const file = new SpoolFile(path, cipher, Math.max(maxBytes, LEAST_MAX_BYTES));
    return new Spool(file, cipher, options);
  }

  private constructor(file: SpoolFile, cipher: SpoolCipher, options: SpoolOptions) {
    const { maxSamples = DEFAULT_MAX_SAMPLES, logger = silentLogger() } = options;
    this.maxSamples = maxSamples;
    this.#keepSamples = options.keepSamples ?? DEFAULT_KEEP_SAMPLES;
    this.#file = file;
    this.#cipher = cipher;
    this.#logger = logger;
    this.#sleep = options.sleep ?? systemSleep;
    const { acknowledged, last, recording, measuredAt } = file.progress;
    this.#acknowledged = this.#acknowledgedOnDisk = acknowledged;
    this.#dropped = Math.min(acknowledged, (file.oldest ?? last + 1) - 1);
    this.#last = last;
    this.#recording = recording;
    this.#measuredAt = measuredAt;
    // The bounds may have been others the last time.
    this.#flush();
  }

  /** Everything up to and including this sequence number is safe at the service provider; 0 at first. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** The last sequence number that was put here or is acknowledged; 0 at first. */
  get last(): number {
    return this.#last;
  }

  /** How many samples wait to be acknowledged. */
  get size(): number {
    return this.#last - this.#acknowledged;
  }

  /** The first sequence number that can be sent from here, now or after {@link rewind}. */
  get oldest(): number {
    return this.#dropped + 1;
  }

  /** Which recording the series comes from, as {@link beginRecording} was told. */
  get recording(): string | undefined {
    return this.#recording ?? undefined;
  }

  /** When the last sample that has a time was measured, also where it is acknowledged long since. */
  get lastMeasuredAt(): number | undefined {
    return this.#measuredAt ?? undefined;
  }

  /**
   * Notes which recording the series comes from.
   * @throws STORAGE_FULL, STORAGE_FAILED
   */
  beginRecording(recording: string): void {
    if (recording === this.#recording) return;
    this.#file.note({ ...this.#progress(), recording }, this.#dropped);
    this.#acknowledgedOnDisk = this.#acknowledged;
    this.#recording = recording;
  }

  /**
   * Puts the next samples, all of them or none. When this resolves they are on disk. It waits for room
   * where the spool holds as much as it may, and where the disk is full. One call at a time.
   * @throws STORAGE_FAILED: nothing was put, and what was there is still there; the signal's reason
   * once that is aborted
   */
  async put(samples: readonly SpooledSample[], signal?: AbortSignal): Promise<void> {
    if (samples.length > this.maxSamples) throw new RangeError('more samples than the spool holds');
    const hasRoom = (): boolean => this.size + samples.length <= this.maxSamples;
    if (!hasRoom()) this.#logger.warn('the spool is full: readings wait', { waiting: this.size });
    await this.#bell.until(hasRoom, signal);
    for (let attempt = 1; !this.#write(samples, attempt); attempt += 1) {
      await this.#untilPerhapsRoom(signal);
    }
    this.#acknowledgedOnDisk = this.#acknowledged;
    this.#last += samples.length;
    this.#bell.ring();
  }

  /**
   * Notes that the service provider has samples on disk, also where this spool never held them. They
   * stay for as long as {@link SpoolBounds} allow. A number below what is acknowledged already changes
   * nothing.
   */
  acknowledge(through: number): void {
    if (through <= this.#acknowledged) return;
    // What is here has no gaps.
    if (through > this.#last) this.#dropped = this.#last = through;
    this.#acknowledged = through;
    if (through - this.#acknowledgedOnDisk >= ACKNOWLEDGEMENTS_IN_MEMORY) this.#flush();
    this.#bell.ring();
  }

  /**
   * Takes acknowledgements back: the service provider has nothing above this number any more. The
   * samples that follow it are kept here and wait again.
   * @throws RangeError where they are not kept
   */
  rewind(through: number): void {
    if (through >= this.#acknowledged) return;
    if (through < this.#dropped) throw new RangeError('what follows is not here any more');
    this.#acknowledged = through;
    this.#flush();
  }

  /**
   * Takes acknowledgements back where what follows is not kept: all that is here goes too, for the
   * samples are put again, from the next number on. On disk when this returns.
   * @throws STORAGE_FULL, STORAGE_FAILED: nothing has changed
   */
  restart(through: number): void {
    if (through >= this.#acknowledged) return;
    this.#file.clear({ ...this.#progress(), acknowledged: through, last: through });
    this.#acknowledged = this.#acknowledgedOnDisk = this.#dropped = this.#last = through;
  }

  /**
   * Samples that wait to be acknowledged, from a sequence number on, in order, at most `limit`; none
   * that follows one which cannot be read.
   * @throws SPOOL_DAMAGED where the first of them is such a one
   */
  from(sequence: number, limit: number): SpooledSample[] {
    const first = Math.max(sequence, this.#acknowledged + 1);
    const count = Math.min(limit, this.#last - first + 1);
    return this.#file.read(first, count).map((bytes, i) => ({ sequence: first + i, bytes }));
  }

  /** Waits until a sequence number has been put. */
  async waitFor(sequence: number, signal: AbortSignal): Promise<void> {
    await this.#bell.until(() => this.#last >= sequence, signal);
  }

  /** Waits until everything that was put is acknowledged. */
  async untilEmpty(signal: AbortSignal): Promise<void> {
    await this.#bell.until(() => this.size === 0, signal);
  }

  /** Writes down what was acknowledged, and closes. */
  close(): void {
    this.#flush();
    this.#file.close();
  }

  /** Where this fails, a later one makes up for it. */
  #flush(): void {
    const dropped = this.#outOfBounds(this.#last);
    if (this.#acknowledgedOnDisk === this.#acknowledged && dropped === this.#dropped) return;
    try {
      this.#file.note(this.#progress(), dropped);
      this.#acknowledgedOnDisk = this.#acknowledged;
      this.#dropped = dropped;
    } catch {
      // What is not written down is sent again: nothing is lost.
    }
  }

  /** @returns whether there was room on the disk */
  #write(samples: readonly SpooledSample[], attempt: number): boolean {
    samples.forEach(({ sequence }, i) => {
      if (sequence !== this.#last + 1 + i) throw new RangeError('samples must be consecutive');
    });
    const sealed = samples.map(({ sequence, bytes }) => ({
      sequence,
      sealed: this.#cipher.seal(sequence, bytes),
    }));
    const last = this.#last + samples.length;
    const measuredAt = samples.at(-1)?.measuredAt ?? this.#measuredAt;
    try {
      this.#putDropping(sealed, { ...this.#progress(), last, measuredAt });
      this.#measuredAt = measuredAt;
    } catch (error) {
      if (!isDuoveilError(error, 'STORAGE_FULL')) throw error;
      if (attempt === 1) this.#logger.warn('no room for the spool: readings wait', { error });
      return false;
    }
    if (attempt > 1) this.#logger.warn('there is room for the spool again');
    return true;
  }

  /** Writes, and drops of the samples that are kept as few as make room. */
  #putDropping(sealed: readonly SealedSample[], progress: SpoolProgress): void {
    let dropped = this.#outOfBounds(progress.last);
    for (let more = DROPPED_AT_ONCE; ; more *= 8) {
      try {
        this.#file.put(sealed, progress, dropped);
        this.#dropped = dropped;
        return;
      } catch (error) {
        const isFull = isDuoveilError(error, 'STORAGE_FULL');
        if (!isFull || dropped === this.#acknowledged) throw error;
        dropped = Math.min(dropped + more, this.#acknowledged);
      }
    }
  }

  /** The last sample that is not to be kept, by the bounds. */
  #outOfBounds(last: number): number {
    const bound = Math.max(this.#acknowledged - this.#keepSamples, last - this.maxSamples);
    return Math.max(this.#dropped, Math.min(bound, this.#acknowledged));
  }

  /** Waits until something was acknowledged, or for a while: somebody may have made room. */
  async #untilPerhapsRoom(signal?: AbortSignal): Promise<void> {
    const before = this.#acknowledged;
    const life = linkedAbort(...(signal === undefined ? [] : [signal]));
    try {
      await Promise.race([
        this.#bell.until(() => this.#acknowledged > before, life.signal),
        this.#sleep(FULL_PAUSE_MS, life.signal),
      ]);
    } finally {
      life.abort(new Error('waiting is over'));
      life.release();
    }
  }

  #progress(): SpoolProgress {
    return {
      acknowledged: this.#acknowledged,
      last: this.#last,
      recording: this.#recording,
      measuredAt: this.#measuredAt,
    };
  }
}
