import { createHash } from 'node:crypto';

import { duoveilError } from '@duoveil/common/errors';
import type { ModularEngine } from '@duoveil/common/modular';
import { AdditiveKey, isWellFormed } from '@duoveil/common/paillier';
import type { ProviderKey } from '@duoveil/common/protocols/packed';
import { bitLength } from '@duoveil/common/integers';
import {
  derivedRandom,
  integerFromBytes,
  systemRandom,
  uniformBetween,
} from '@duoveil/common/random';
import type { Secret } from '@duoveil/common/secret';

import { BoundedCache } from './bounded-cache.js';
import { ZeroPool } from './zero-pool.js';

/** Service providers at once: replicas, and restarts of them. */
const CAPACITY = 64;

/** The longest modulus that is taken, in bits. */
const MAX_BITS = 8192;

/** A service provider's key, with what is drawn ahead for its answers. */
export interface RegisteredProvider extends ProviderKey {
  readonly pool: ZeroPool;
}

/** The service providers' own additive keys, in memory only and bounded. */
export class ProviderKeys {
  readonly #engine: ModularEngine;
  readonly #minimumBits: number;
  readonly #answers: Secret<Uint8Array>;
  readonly #keys = new BoundedCache<RegisteredProvider>(CAPACITY);

  /** @param minimumBits |N| of the public parameters: an answer must fit a provider's modulus */
  constructor(engine: ModularEngine, minimumBits: number, answers: Secret<Uint8Array>) {
    this.#engine = engine;
    this.#minimumBits = minimumBits;
    this.#answers = answers;
  }

  /**
   * Check a key and keep it.
   * @returns 32 bytes that name it
   * @throws DuoveilError `KEY_INVALID`
   */
  async register(
    encodedModulus: Uint8Array,
    encodedGenerator: Uint8Array,
    encodedRoots: readonly Uint8Array[],
  ): Promise<Buffer> {
    const id = createHash('sha256')
      .update(`duoveil/provider-key/v1/${String(encodedModulus.length)}/`)
      .update(encodedModulus)
      .update(encodedGenerator)
      .digest();
    const name = id.toString('hex');
    if (this.#keys.get(name) !== undefined) return id;

    if (encodedModulus.length > MAX_BITS / 8) throw keyInvalid('modulus', 'is too long');
    const modulus = integerFromBytes(encodedModulus);
    const bits = bitLength(modulus);
    if (bits < this.#minimumBits || bits % 2 !== 0 || (modulus & 1n) === 0n) {
      throw keyInvalid(
        'modulus',
        `must be odd and have at least ${String(this.#minimumBits)} bits`,
      );
    }
    const generator = integerFromBytes(encodedGenerator);
    const square = modulus * modulus;
    const [symbol] = await this.#engine.jacobi([generator % modulus], modulus);
    if (generator <= 1n || generator >= square || symbol !== 1) {
      throw keyInvalid('generator', 'must lie between 1 and N² and have Jacobi symbol 1');
    }
    if (!(await isWellFormed(modulus, encodedRoots.map(integerFromBytes), this.#engine))) {
      throw keyInvalid('roots', 'must show that the modulus makes a Paillier key');
    }
    const key = new AdditiveKey({ modulus, generator }, this.#engine);
    const zeros = new AdditiveKey(
      { modulus, generator: await this.#ownGenerator(modulus, id) },
      this.#engine,
    );
    // Builds the table of the generator: the first answer need not wait for it.
    await zeros.zeros(1, Infinity, systemRandom);
    this.#keys.set(name, { key, zeros, pool: new ZeroPool({ key, zeros }) });
    return id;
  }

  /** @throws DuoveilError `KEY_NOT_REGISTERED` */
  find(id: Uint8Array): RegisteredProvider {
    const key = this.#keys.get(Buffer.from(id).toString('hex'));
    if (key === undefined) {
      throw duoveilError(
        'KEY_NOT_REGISTERED',
        'the provider key is not registered: register it and try again',
      );
    }
    return key;
  }

  /** A `2N`-th power that the owner of the modulus had no part in; the same on every replica. */
  async #ownGenerator(modulus: bigint, id: Uint8Array): Promise<bigint> {
    const random = derivedRandom(this.#answers.reveal(), Buffer.concat([Buffer.from('base/'), id]));
    const base = uniformBetween(2n, modulus * modulus - 2n, random);
    const [generator = 1n] = await this.#engine
      .ring(modulus * modulus)
      .powers([{ base, exponent: 2n * modulus }], 'public');
    return generator;
  }
}

function keyInvalid(field: string, requirement: string): Error {
  return duoveilError('KEY_INVALID', `provider key: ${field} ${requirement}`, { field });
}
