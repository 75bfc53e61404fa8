/**
 * Master ("strong") decryption: BCP 2003, section 3.2, done modulo `p²` and `q²` and joined by the
 * Chinese remainder theorem. With `L_p(u) = (u - 1)/p` and everything modulo `p`:
 * `L_p(B^(p-1)) = a·r·k_p + m·q·(p-1)`, `L_p(A^(p-1)) = r·k_p`, `L_p(h^(p-1)) = a·k_p`, where
 * `k_p = L_p(g^(p-1))` is 0 in the `residue` family, which therefore needs `B` alone.
 */
import type { MaskedOpening } from '../bcp/ciphertext.js';
import { decryptionFailed } from '../bcp/keys.js';
import type { StrongDecryption } from '../bcp/strong-decryption.js';
import { inverses } from '../modular/kernel.js';
import type { ModularEngine } from '../modular/index.js';
import { CrtOpening, type PrimeHalf } from '../paillier/crt-opening.js';
import type { MasterKey } from './master-key.js';

/** How many public keys' `a mod p` are kept at most. */
const KEPT_KEYS = 1024;

/** Opens ciphertexts under any public key of its parameters. */
export class MasterDecryption implements StrongDecryption {
  readonly #opening: CrtOpening;
  /** In the `bcp03` family, what `A` contributes to `B`, modulo either prime. */
  readonly #shared: readonly [SharedPart, SharedPart] | undefined;

  private constructor(opening: CrtOpening, shared: readonly [SharedPart, SharedPart] | undefined) {
    this.#opening = opening;
    this.#shared = shared;
  }

  /** Prepare what depends on the parameters alone. */
  static async create(
    { parameters, factors }: MasterKey,
    engine: ModularEngine,
  ): Promise<MasterDecryption> {
    const opening = new CrtOpening(factors, engine);
    if (parameters.family === 'residue') return new MasterDecryption(opening, undefined);
    const shared = await Promise.all([
      SharedPart.create(opening.first, parameters.generator),
      SharedPart.create(opening.second, parameters.generator),
    ]);
    return new MasterDecryption(opening, shared);
  }

  async open(publicKey: bigint, openings: readonly MaskedOpening[]): Promise<bigint[]> {
    const values = openings.map(({ b }) => b);
    if (this.#shared === undefined) return this.#opening.open(values);
    const seconds = openings.map(({ a }) => {
      if (a === undefined) throw decryptionFailed();
      return a;
    });
    const [left, right] = this.#shared;
    const [moduloP, moduloQ] = await Promise.all([
      left.open(publicKey, values, seconds),
      right.open(publicKey, values, seconds),
    ]);
    return moduloP.map((residue, i) => this.#opening.join(residue, moduloQ[i] ?? 0n));
  }
}

/** Decryption in the `bcp03` family modulo one of the primes. */
class SharedPart {
  readonly #half: PrimeHalf;
  /** `k_p⁻¹ mod p`. */
  readonly #inverseOfK: bigint;
  /** `a mod p` by public key, oldest first. */
  readonly #secretResidues = new Map<bigint, bigint>();

  private constructor(half: PrimeHalf, k: bigint) {
    this.#half = half;
    this.#inverseOfK = inverses(half.prime, [k])[0] ?? 0n;
  }

  static async create(half: PrimeHalf, generator: bigint): Promise<SharedPart> {
    const [k = 0n] = await half.logarithms([generator]);
    return new SharedPart(half, k);
  }

  /** Messages modulo the prime, of ciphertexts given as their `B` and their `A`. */
  async open(
    publicKey: bigint,
    values: readonly bigint[],
    seconds: readonly bigint[],
  ): Promise<bigint[]> {
    const { prime } = this.#half;
    const secret = await this.#secretResidue(publicKey);
    const logarithms = await this.#half.logarithms([...values, ...seconds]);
    return values.map((_, i) => {
      const shared = (secret * (logarithms[values.length + i] ?? 0n)) % prime;
      return this.#half.message((logarithms[i] ?? 0n) - shared + prime);
    });
  }

  /** `a mod p` of a public key `h = g^a`. */
  async #secretResidue(publicKey: bigint): Promise<bigint> {
    const known = this.#secretResidues.get(publicKey);
    if (known !== undefined) return known;
    const [logarithm = 0n] = await this.#half.logarithms([publicKey]);
    const residue = (logarithm * this.#inverseOfK) % this.#half.prime;
    const [oldest] = this.#secretResidues.keys();
    if (this.#secretResidues.size >= KEPT_KEYS && oldest !== undefined) {
      this.#secretResidues.delete(oldest);
    }
    this.#secretResidues.set(publicKey, residue);
    return residue;
  }
}
