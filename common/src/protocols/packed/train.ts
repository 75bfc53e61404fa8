/**
 * Training in the packed suite: from the encrypted sums of features over a window to additive shares
 * of the coefficients of the leverage `h(x) = zᵀQ⁻¹z`, `z = (1, x)`, which is linear in the features:
 * `h = θ₀ + ⟨θ, φ(x)⟩`. `Q` is the Gram matrix of the window with the noise floors on its diagonal;
 * `MD² = (n-1)(h - 1/n)`. Everything is exact, in the field of the plan.
 *
 * | step | who | does | learns |
 * |---|---|---|---|
 * | 1 | SP | masks every slot of the sums, statistically, and sends the ciphertexts' `B` | nothing |
 * | 2 | CSP | opens: `Q = Q_C + Q_S` is shared; sends `Q_C`, encrypted to itself, by rows | masked sums |
 * | 3 | SP | sends `M = R·Q`, `R` uniform in `GL(F_P)`: rows of `Q_C` combined, `R·Q_S` added | nothing |
 * | 4 | CSP | opens `M`, sends `M⁻¹`, encrypted to itself, by columns | a uniform matrix |
 * | 5 | SP | sends `Q⁻¹ + τ = M⁻¹·R + τ`, `τ` uniform | nothing |
 * | 6 | CSP | opens `θ̂ = θ + τ`, keeps it, sends `2^s·θ̂ᵢ`, encrypted to itself | uniform coefficients |
 *
 * For level output numerator and determinant of `h = num/det` are shared apart, `num` being linear in
 * the features with coefficients from `adj Q`: the CSP sends `adj M` and `det M` in step 4, the service
 * provider combines with `R/det R` in step 5, for `adj Q = adj(M)·R/det R`, and adds a masked
 * `det Q = det M/det R`, which the CSP opens with the rest.
 *
 * Values that are opened may exceed `P`: a random multiple of `P` hides their quotients. Each
 * combination is rerandomised, for the CSP knows the randomness of what was combined.
 */
import { modInv as modularInverse } from 'bigint-crypto-utils';

import { maskedOpening, type Ciphertext, type MaskedOpening } from '../../bcp/ciphertext.js';
import { pack, unpack, type PackingPlan, type SlotLayout } from '../../encoding/packing-plan.js';
import {
  invertMatrix,
  multiplyMatrices,
  uniformInvertible,
  type Matrix,
} from '../../field/matrix.js';
import { elementAt, inParts, transpose } from '../../lists.js';
import {
  hidingBits,
  type AdditiveCiphertext,
  type AdditiveKey,
  type AdditiveTerm,
} from '../../paillier/index.js';
import { uniformBelow, uniformBits, type RandomSource } from '../../random.js';
import { hidingMultiple, modulo } from './roles.js';
import type { CryptoServiceProviderRole, ServiceProviderRole } from './roles.js';

/** Lists of ciphertexts, each a row or a column of a matrix, in as many plaintexts as it takes. */
export type PackedLines = readonly (readonly AdditiveCiphertext[])[];

/** What the service provider remembers between step 1 and step 3: the masks of the sums. */
export type SumMasks = readonly bigint[];

/** What the service provider remembers between step 3 and step 5. */
export interface MatrixMask {
  /** `R`. */
  readonly factor: Matrix;
  /** `det R`. */
  readonly determinant: bigint;
}

/** What the CSP answers in step 4. */
export interface InvertedGram {
  /** `M⁻¹`, for level output `adj M`, column by column; to the CSP. */
  readonly columns: PackedLines;
  /** `det M`, for level output alone; to the CSP. */
  readonly determinant: AdditiveCiphertext | undefined;
}

/** What the service provider sends in step 5. */
export interface MaskedCoefficientColumns {
  readonly columns: PackedLines;
  /** `det Q`, masked, for level output alone; to the CSP. */
  readonly determinant: AdditiveCiphertext | undefined;
}

/** The service provider's share of the coefficients: `τ₀` and `τᵢ`, a feature each. */
export interface CoefficientMasks {
  readonly constant: bigint;
  readonly features: readonly bigint[];
  /** The share of `det Q`; 0 for distance output. */
  readonly determinant: bigint;
}

/** The CSP's share: `θ̂ = θ + τ`. */
export type MaskedCoefficients = CoefficientMasks;

/** Step 1, SP: mask every slot of the encrypted sums of features. */
export async function maskSums(
  { plan, patient }: ServiceProviderRole,
  sums: readonly Ciphertext[],
  random: RandomSource,
): Promise<{ openings: MaskedOpening[]; masks: SumMasks }> {
  const { bits, perPlaintext } = plan.featureSlots;
  const masks = plan.features.map(() => uniformBits(bits - 1, random));
  const parts = inParts(masks, perPlaintext);
  const hidden = sums.map((sum, i) => patient.bcp.addConstant(sum, pack(parts[i] ?? [], bits)));
  const openings = await patient.rerandomiseForOpening(hidden, random);
  return { openings: openings.map(({ b }) => maskedOpening(b, undefined)), masks };
}

/** Step 2, CSP: open the masked sums, and send its share of `Q` row by row. */
export async function shareGram(
  { plan, own }: CryptoServiceProviderRole,
  openings: readonly MaskedOpening[],
  random: RandomSource,
): Promise<PackedLines> {
  const plaintexts = await own.opening.open(openings.map(({ b }) => b));
  const sums = unpackAll(plaintexts, plan.featureSlots, plan.features.length);
  return encryptLines(own.key, gramOf(plan, sums), plan.matrixSlots, random);
}

/** Step 3, SP: combine the rows by a random invertible matrix, and add the same of its own share. */
export async function maskGram(
  { plan, csp }: ServiceProviderRole,
  noiseFloors: readonly bigint[],
  masks: SumMasks,
  rows: PackedLines,
  random: RandomSource,
): Promise<{ matrix: PackedLines; mask: MatrixMask }> {
  const { field, matrixSlots, matrixQuotientBits } = plan;
  const share = ownShare(plan, noiseFloors, masks);
  const { matrix: factor, determinant } = uniformInvertible(plan.p + 1, field.order, random);
  const product = multiplyMatrices(factor, share, field.order);
  const added = product.map((row) =>
    row.map((entry) => entry + hidingMultiple(plan, matrixQuotientBits, random)),
  );
  const parts = rows[0]?.length ?? 0;
  const jobs = factor.flatMap((coefficients, i) =>
    Array.from({ length: parts }, (_, part) => ({
      terms: coefficients.map((coefficient, k) => term(rows[k]?.[part], coefficient)),
      constant: pack(partOf(added[i] ?? [], part, matrixSlots), matrixSlots.bits),
    })),
  );
  const combined = await combine(csp, jobs, field.bits, random);
  return { matrix: inParts(combined, parts), mask: { factor, determinant } };
}

/** Step 4, CSP: open `M`, and send its inverse column by column; zeros where it has none. */
export async function invertGram(
  { plan, own }: CryptoServiceProviderRole,
  matrix: PackedLines,
  random: RandomSource,
): Promise<InvertedGram> {
  const { field, matrixSlots, coefficientSlots, p, level } = plan;
  const opened = inParts(await own.opening.open(matrix.flat()), matrix[0]?.length ?? 1);
  const masked = opened.map((plaintexts) =>
    unpackAll(plaintexts, matrixSlots, p + 1).map((entry) => modulo(entry, field.order)),
  );
  // A singular matrix is as good as never an honest one. It is answered like any other, with zeros:
  // an error would tell who made it up of a guess whether the guess is right.
  const { inverse, determinant } = invertMatrix(masked, field.order) ?? {
    inverse: masked.map((row) => row.map(() => 0n)),
    determinant: 0n,
  };
  // adj M = det M · M⁻¹
  const scale = level === undefined ? 1n : determinant;
  const lines = transpose(inverse).map((line) =>
    line.map((entry) => (entry * scale) % field.order),
  );
  const columns = await encryptLines(own.key, lines, coefficientSlots, random);
  if (level === undefined) return { columns, determinant: undefined };
  return { columns, determinant: elementAt(await own.key.encrypt([determinant], random), 0) };
}

/** Step 5, SP: undo the mask of the matrix, and mask the coefficients. */
export async function maskCoefficients(
  { plan, csp }: ServiceProviderRole,
  { factor, determinant }: MatrixMask,
  inverted: InvertedGram,
  random: RandomSource,
): Promise<{ coefficients: MaskedCoefficientColumns; share: CoefficientMasks }> {
  const { field, coefficientSlots, level } = plan;
  const unscale = level === undefined ? 1n : modularInverse(determinant, field.order);
  const lines = columnsNeeded(plan);
  const masks = lines.map(({ rows }) =>
    Array.from({ length: rows }, () => uniformBelow(field.order, random)),
  );
  const determinantMask = level === undefined ? 0n : uniformBelow(field.order, random);
  const hidden = (mask: bigint): bigint =>
    mask + hidingMultiple(plan, plan.coefficientQuotientBits, random);
  const jobs = lines.flatMap(({ column, parts }, line) =>
    Array.from({ length: parts }, (_, part) => ({
      terms: factor.map((row, k) =>
        term(inverted.columns[k]?.[part], ((row[column] ?? 0n) * unscale) % field.order),
      ),
      constant: pack(
        partOf(masks[line] ?? [], part, coefficientSlots).map(hidden),
        coefficientSlots.bits,
      ),
    })),
  );
  if (level !== undefined) {
    jobs.push({
      terms: [term(inverted.determinant, unscale)],
      constant: hidden(determinantMask),
    });
  }
  const combined = await combine(csp, jobs, field.bits, random);
  let next = 0;
  const columns = lines.map(({ parts }) => combined.slice(next, (next += parts)));
  return {
    coefficients: { columns, determinant: level && elementAt(combined, next) },
    share: { ...coefficientsOf(plan, masks), determinant: determinantMask },
  };
}

/** Step 6, CSP: open its share of the coefficients, and prepare the cross terms of scoring. */
export async function keepCoefficients(
  { plan, own }: CryptoServiceProviderRole,
  { columns: masked, determinant }: MaskedCoefficientColumns,
  random: RandomSource,
): Promise<{ share: MaskedCoefficients; crossTerms: AdditiveCiphertext[] }> {
  const { field, coefficientSlots, crossTerm } = plan;
  const opened = await own.opening.open([
    ...masked.flat(),
    ...(determinant === undefined ? [] : [determinant]),
  ]);
  let next = 0;
  const columns = columnsNeeded(plan).map(({ rows, parts }) =>
    unpackAll(opened.slice(next, (next += parts)), coefficientSlots, rows).map((entry) =>
      modulo(entry, field.order),
    ),
  );
  const openedDeterminant =
    determinant === undefined ? 0n : modulo(elementAt(opened, next), field.order);
  const share = { ...coefficientsOf(plan, columns), determinant: openedDeterminant };
  const shifted = share.features.map((coefficient) => coefficient << BigInt(crossTerm.shift));
  return { share, crossTerms: await own.key.encrypt(shifted, random) };
}

/** `Q` of sums of features: symmetric, `p + 1` by `p + 1`, its corner left 0. */
function gramOf({ p, features }: PackingPlan, sums: readonly bigint[]): bigint[][] {
  const gram = Array.from({ length: p + 1 }, () => new Array<bigint>(p + 1).fill(0n));
  features.forEach(([j, k], i) => {
    const [row, column] = k === undefined ? [0, j + 1] : [j + 1, k + 1];
    const sum = sums[i] ?? 0n;
    gram[row]?.splice(column, 1, sum);
    gram[column]?.splice(row, 1, sum);
  });
  return gram;
}

/** `Q_S`: the masks taken away, the number of samples, and the floors on the diagonal. */
function ownShare(plan: PackingPlan, noiseFloors: readonly bigint[], masks: SumMasks): bigint[][] {
  const { order } = plan.field;
  const size = BigInt(plan.window);
  return gramOf(plan, masks).map((row, j) =>
    row.map((mask, k) => {
      const floor = j === k && j > 0 ? (size - 1n) * (noiseFloors[j - 1] ?? 0n) : 0n;
      return modulo((j === 0 && k === 0 ? size : 0n) + floor - mask, order);
    }),
  );
}

/** Which rows of which columns of `Q⁻¹` are opened: the upper triangle, in whole plaintexts. */
function columnsNeeded({
  p,
  coefficientSlots: { perPlaintext },
}: PackingPlan): { column: number; parts: number; rows: number }[] {
  return Array.from({ length: p + 1 }, (_, column) => {
    const parts = Math.ceil((column + 1) / perPlaintext);
    return { column, parts, rows: Math.min(parts * perPlaintext, p + 1) };
  });
}

/** Coefficients of the features from the columns of a symmetric matrix: off the diagonal, doubled. */
function coefficientsOf(
  { features, field }: PackingPlan,
  columns: readonly (readonly bigint[])[],
): Omit<CoefficientMasks, 'determinant'> {
  const entry = (row: number, column: number): bigint => columns[column]?.[row] ?? 0n;
  return {
    constant: entry(0, 0),
    features: features.map(([j, k]) => {
      if (k === undefined) return (2n * entry(0, j + 1)) % field.order;
      return j === k ? entry(j + 1, j + 1) : (2n * entry(j + 1, k + 1)) % field.order;
    }),
  };
}

async function encryptLines(
  key: AdditiveKey,
  lines: Matrix,
  { bits, perPlaintext }: SlotLayout,
  random: RandomSource,
): Promise<PackedLines> {
  const packed = lines.map((line) => inParts(line, perPlaintext).map((part) => pack(part, bits)));
  const encrypted = await key.encrypt(packed.flat(), random);
  return inParts(encrypted, packed[0]?.length ?? 1);
}

interface Combination {
  readonly terms: readonly AdditiveTerm[];
  readonly constant: bigint;
}

/** Combine, add, and rerandomise against the owner of the key. */
async function combine(
  key: AdditiveKey,
  jobs: readonly Combination[],
  factorBits: number,
  random: RandomSource,
): Promise<AdditiveCiphertext[]> {
  const terms = jobs[0]?.terms.length ?? 1;
  const bits = hidingBits(key.freshBits, factorBits, terms);
  const [combined, zeros] = await Promise.all([
    key.combinations(jobs.map((job) => job.terms)),
    key.zeros(jobs.length, bits, random),
  ]);
  return jobs.map(({ constant }, i) =>
    key.add(key.sum(elementAt(combined, i), elementAt(zeros, i)), constant),
  );
}

function term(ciphertext: AdditiveCiphertext | undefined, factor: bigint): AdditiveTerm {
  if (ciphertext === undefined) throw new RangeError('a ciphertext is missing');
  return { ciphertext, factor };
}

function partOf<T>(list: readonly T[], part: number, { perPlaintext }: SlotLayout): T[] {
  return list.slice(part * perPlaintext, (part + 1) * perPlaintext);
}

function unpackAll(
  plaintexts: readonly bigint[],
  { bits, perPlaintext }: SlotLayout,
  count: number,
): bigint[] {
  return plaintexts.flatMap((plaintext, i) =>
    unpack(plaintext, bits, Math.min(perPlaintext, count - i * perPlaintext)),
  );
}
