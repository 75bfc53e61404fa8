/**
 * Master ("strong") decryption: BCP 2003, section 3.2, done modulo `p²` and `q²` and joined by the
 * Chinese remainder theorem. With `L_p(u) = (u - 1)/p` and everything modulo `p`:
 * `L_p(B^(p-1)) = a·r·k_p + m·q·(p-1)`, `L_p(A^(p-1)) = r·k_p`, `L_p(h^(p-1)) = a·k_p`, where
 * `k_p = L_p(g^(p-1))` is 0 in the `residue` family, which therefore needs `B` alone.
 */
import type { MaskedOpening } from '../bcp/ciphertext.js';
import { decryptionFailed, exactL } from '../bcp/keys.js';
import type { StrongDecryption } from '../bcp/strong-decryption.js';
import { inverses } from '../modular/kernel.js';
import type { ModularEngine, PowerJob, Ring } from '../modular/index.js';
import type { MasterKey } from './master-key.js';

/** How many public keys' `a mod p` are kept at most. */
const KEPT_KEYS = 1024;

/** Opens ciphertexts under any public key of its parameters. */
export class MasterDecryption implements StrongDecryption {
  readonly #key: MasterKey;
  readonly #halves: readonly [Half, Half];
  readonly #inverseOfPModuloQ: bigint;

  private constructor(key: MasterKey, halves: readonly [Half, Half]) {
    this.#key = key;
    this.#halves = halves;
    const [{ prime: p }, { prime: q }] = halves;
    this.#inverseOfPModuloQ = inverses(q, [p % q])[0] ?? 0n;
  }

  /** Prepare what depends on the parameters alone. */
  static async create(key: MasterKey, engine: ModularEngine): Promise<MasterDecryption> {
    const { p, q } = key.factors.reveal();
    const halves = await Promise.all([
      Half.create(p, q, key, engine),
      Half.create(q, p, key, engine),
    ]);
    return new MasterDecryption(key, halves);
  }

  async open(publicKey: bigint, openings: readonly MaskedOpening[]): Promise<bigint[]> {
    const [first, second] = this.#halves;
    const [moduloP, moduloQ] = await Promise.all([
      first.open(publicKey, openings),
      second.open(publicKey, openings),
    ]);
    return moduloP.map((residue, i) => this.#join(residue, moduloQ[i] ?? 0n));
  }

  /** H. L. Garner, *The residue number system*, IRE Trans. EC-8, 1959. */
  #join(moduloP: bigint, moduloQ: bigint): bigint {
    const [{ prime: p }, { prime: q }] = this.#halves;
    const difference = (moduloQ - (moduloP % q) + q) % q;
    return (
      (moduloP + p * ((difference * this.#inverseOfPModuloQ) % q)) % this.#key.parameters.modulus
    );
  }
}

/** Decryption modulo one of the primes. */
class Half {
  readonly prime: bigint;
  readonly #family: MasterKey['parameters']['family'];
  readonly #ring: Ring;
  /** `(q·(p-1))⁻¹ mod p`. */
  readonly #unscale: bigint;
  /** `k_p⁻¹ mod p`; unused in the `residue` family. */
  readonly #inverseOfK: bigint;
  readonly #secretResidues = new Map<bigint, bigint>();

  private constructor(
    prime: bigint,
    other: bigint,
    family: MasterKey['parameters']['family'],
    ring: Ring,
    k: bigint,
  ) {
    this.prime = prime;
    this.#family = family;
    this.#ring = ring;
    this.#unscale = inverses(prime, [(other * (prime - 1n)) % prime])[0] ?? 0n;
    this.#inverseOfK = family === 'bcp03' ? (inverses(prime, [k])[0] ?? 0n) : 0n;
  }

  static async create(
    prime: bigint,
    other: bigint,
    { parameters }: MasterKey,
    engine: ModularEngine,
  ): Promise<Half> {
    const square = prime * prime;
    const ring = engine.ring(square);
    const [power = 1n] = await ring.powers([
      { base: parameters.generator % square, exponent: prime - 1n },
    ]);
    return new Half(prime, other, parameters.family, ring, exactL(power, prime));
  }

  async open(publicKey: bigint, openings: readonly MaskedOpening[]): Promise<bigint[]> {
    const logarithms = await this.#logarithms(openings.map(({ b }) => b));
    if (this.#family === 'residue') {
      return logarithms.map((value) => (value * this.#unscale) % this.prime);
    }
    const secret = await this.#secretResidue(publicKey);
    const shared = await this.#logarithms(
      openings.map(({ a }) => {
        if (a === undefined) throw decryptionFailed();
        return a;
      }),
    );
    return logarithms.map((value, i) => {
      const message = value - ((secret * (shared[i] ?? 0n)) % this.prime) + this.prime;
      return (message * this.#unscale) % this.prime;
    });
  }

  /** `L_p(x^(p-1) mod p²)` of each `x`. */
  async #logarithms(values: readonly bigint[]): Promise<bigint[]> {
    const exponent = this.prime - 1n;
    const jobs: PowerJob[] = values.map((value) => ({
      base: value % this.#ring.modulus,
      exponent,
    }));
    const powers = await this.#ring.powers(jobs);
    return powers.map((power) => exactL(power, this.prime));
  }

  /** `a mod p` of a public key `h = g^a`. */
  async #secretResidue(publicKey: bigint): Promise<bigint> {
    const known = this.#secretResidues.get(publicKey);
    if (known !== undefined) return known;
    const [logarithm = 0n] = await this.#logarithms([publicKey]);
    const residue = (logarithm * this.#inverseOfK) % this.prime;
    const [oldest] = this.#secretResidues.keys();
    if (this.#secretResidues.size >= KEPT_KEYS && oldest !== undefined) {
      this.#secretResidues.delete(oldest);
    }
    this.#secretResidues.set(publicKey, residue);
    return residue;
  }
}
