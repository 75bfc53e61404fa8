/**
 * Secure inversion of a matrix: `Enc(S) → Enc(S⁻¹)`. Lee, Choi, Lee 2015, section 5.3; the
 * multiplicative mask is that of J. Bar-Ilan, D. Beaver, *Non-cryptographic fault-tolerant computing
 * in constant number of rounds of interaction*, PODC 1989.
 *
 * | step | who | does | learns |
 * |---|---|---|---|
 * | 1 | SP | sends `R·S`, `R` uniform in `GL_p(Z_N)` | nothing |
 * | 2 | CSP | opens it, returns `Enc((R·S)⁻¹)` | a uniform invertible matrix |
 * | 3 | SP | multiplies by `R` from the right: `(R·S)⁻¹·R = S⁻¹` | nothing |
 *
 * `S` must be invertible modulo `N`: a singular one would show its rank through `R·S`. Covariances
 * here are, because of the noise floors on their diagonal.
 */
import type { Ciphertext, MaskedOpening } from '../../bcp/ciphertext.js';
import type { Bcp } from '../../bcp/scheme.js';
import { duoveilError } from '../../errors.js';
import { invertMatrix, uniformInvertible } from '../../field/matrix.js';
import { inParts, transpose } from '../../lists.js';
import type { RandomSource } from '../../random.js';
import { unveil } from './roles.js';
import type { CryptoServiceProviderRole, ServiceProviderRole } from './roles.js';

/** A square matrix of ciphertexts, by rows. */
export type CiphertextMatrix = readonly (readonly Ciphertext[])[];

/** The multiplicative mask of one inversion: taken once. */
export class MatrixMask {
  #matrix: readonly (readonly bigint[])[] | undefined;

  constructor(matrix: readonly (readonly bigint[])[]) {
    this.#matrix = matrix;
  }

  /** @throws Error where the mask was taken before: a defect. */
  take(): readonly (readonly bigint[])[] {
    const matrix = this.#matrix;
    if (matrix === undefined) throw new Error('this mask was used before');
    this.#matrix = undefined;
    return matrix;
  }
}

/** Step 1, SP: multiply by a random invertible matrix from the left. */
export async function requestInverse(
  { key }: ServiceProviderRole,
  matrix: CiphertextMatrix,
  random: RandomSource,
): Promise<{ entries: MaskedOpening[]; mask: MatrixMask }> {
  const { matrix: factor } = uniformInvertible(matrix.length, key.bcp.parameters.modulus, random);
  const columns = transpose(matrix);
  const products = await innerProducts(
    key.bcp,
    factor.flatMap((row) => columns.map((column) => ({ constants: row, ciphertexts: column }))),
  );
  return {
    entries: await key.rerandomiseForOpening(products, random),
    mask: new MatrixMask(factor),
  };
}

/**
 * Step 2, CSP: open, invert, encrypt afresh under the patient's key. Entries are row by row.
 * @throws DuoveilError `MESSAGE_INVALID` where what was sent is no square matrix, or singular.
 */
export async function answerInverse(
  csp: CryptoServiceProviderRole,
  dimension: number,
  entries: readonly MaskedOpening[],
  random: RandomSource,
): Promise<Ciphertext[]> {
  if (entries.length !== dimension * dimension) {
    throw entriesInvalid(`must be the square of the dimension ${String(dimension)} in number`);
  }
  const opened = await unveil(csp, entries);
  const inverted = invertMatrix(inParts(opened, dimension), csp.key.bcp.parameters.modulus);
  if (inverted === undefined) throw entriesInvalid('must form an invertible matrix');
  return csp.key.encrypt(inverted.inverse.flat(), random);
}

/** Step 3, SP: multiply by the same matrix from the right. */
export async function acceptInverse(
  { key }: ServiceProviderRole,
  mask: MatrixMask,
  answer: readonly Ciphertext[],
): Promise<Ciphertext[][]> {
  const factor = mask.take();
  const columns = transpose(factor);
  const rows = inParts(answer, factor.length);
  const products = await innerProducts(
    key.bcp,
    rows.flatMap((row) => columns.map((column) => ({ constants: column, ciphertexts: row }))),
  );
  return inParts(products, factor.length);
}

interface InnerProduct {
  readonly constants: readonly bigint[];
  readonly ciphertexts: readonly Ciphertext[];
}

/** `Σ kᵢ·mᵢ` of each: one exponentiation for every term. */
async function innerProducts(bcp: Bcp, jobs: readonly InnerProduct[]): Promise<Ciphertext[]> {
  const scaled = await bcp.scale(
    jobs.flatMap(({ constants, ciphertexts }) =>
      ciphertexts.map((ciphertext, i) => ({ ciphertext, factor: constants[i] ?? 0n })),
    ),
  );
  const lists: Ciphertext[][] = [];
  let next = 0;
  for (const { ciphertexts } of jobs) {
    lists.push(scaled.slice(next, next + ciphertexts.length));
    next += ciphertexts.length;
  }
  return bcp.sums(lists);
}

function entriesInvalid(requirement: string): Error {
  return duoveilError('MESSAGE_INVALID', `entries ${requirement}`, { field: 'entries' });
}
