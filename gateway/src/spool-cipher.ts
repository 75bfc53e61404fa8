/**
 * What is in a spool, sealed: each sample with AES-256-GCM, bound to its patient and its place, and
 * what is noted beside the samples with an authentication code. Whoever has the file can neither read,
 * nor change, nor swap what is in it without being noticed.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';

import type { RandomSource } from '@duoveil/common/random';
import { openBox, sealBox } from '@duoveil/common/runtime';
import type { PatientId } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';

/** What a spool notes beside its samples. */
export interface SpoolProgress {
  /** Everything up to and including this sequence number is safe at the service provider; 0 at first. */
  readonly acknowledged: number;
  /** The last sequence number that was put or acknowledged; 0 at first. */
  readonly last: number;
  /** Which recording the series comes from, if that was noted. */
  readonly recording: string | null;
  /** When the last sample that has a time was measured, in milliseconds since 1970. */
  readonly measuredAt: number | null;
}

/** See the file's comment. Every sealed sample has a random nonce of its own. */
export class SpoolCipher {
  readonly #patient: PatientId;
  readonly #recordKey: Uint8Array;
  readonly #noteKey: Uint8Array;
  readonly #random: RandomSource;

  /** @param key 32 uniform bytes, of this spool's own */
  constructor(key: Secret<Uint8Array>, patient: PatientId, random: RandomSource) {
    this.#patient = patient;
    this.#random = random;
    const derive = (use: string): Uint8Array =>
      new Uint8Array(hkdfSync('sha256', key.reveal(), '', `duoveil spool ${use}`, 32));
    this.#recordKey = derive('records');
    this.#noteKey = derive('notes');
  }

  /** Tells this key and patient from others. */
  get fingerprint(): Buffer {
    return this.#code('fingerprint');
  }

  /** A sample as it is kept: nonce, ciphertext, tag. */
  seal(sequence: number, bytes: Uint8Array): Buffer {
    return sealBox(this.#recordKey, bytes, this.#place(sequence), this.#random);
  }

  /** What {@link seal} was given; undefined where it is not that, or not of this place. */
  open(sequence: number, sealed: Uint8Array): Buffer | undefined {
    return openBox(this.#recordKey, sealed, this.#place(sequence));
  }

  /** What shows that notes were made with this key. */
  authenticate({ acknowledged, last, recording, measuredAt }: SpoolProgress): Buffer {
    return this.#code('progress', acknowledged, last, recording, measuredAt);
  }

  /** Were these notes made with this key? */
  isAuthentic(progress: SpoolProgress, code: Uint8Array): boolean {
    const right = this.authenticate(progress);
    return right.length === code.length && timingSafeEqual(right, code);
  }

  #code(...parts: readonly (string | number | null)[]): Buffer {
    const text = JSON.stringify([...parts, this.#patient]);
    return createHmac('sha256', this.#noteKey).update(text).digest();
  }

  #place(sequence: number): Buffer {
    return Buffer.from(JSON.stringify(['duoveil spool sample', this.#patient, sequence]));
  }
}
