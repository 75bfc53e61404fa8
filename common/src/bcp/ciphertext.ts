/**
 * Ciphertexts, and the validation that every one of them passes when it is decoded: both components
 * in `(0, N²)` and of Jacobi symbol 1 over `N`, from which coprimality follows.
 */
import { duoveilError } from '../errors.js';
import type { ModularEngine } from '../modular/index.js';
import { bytesFromInteger, integerFromBytes } from '../random.js';
import type { PublicParameters } from './parameters.js';

declare const ciphertextBrand: unique symbol;
declare const openingBrand: unique symbol;

/** `(A, B) = (g^r, h^r·(1 + mN)) mod N²`: a message `m` in `[0, N)` under the public key `h`. */
export interface Ciphertext {
  readonly a: bigint;
  readonly b: bigint;
  readonly [ciphertextBrand]: true;
}

/**
 * What the service provider hands over to be opened: a masked, rerandomised ciphertext. In the
 * `residue` family the master key needs `B` alone, so `a` is not sent.
 */
export interface MaskedOpening {
  readonly a: bigint | undefined;
  readonly b: bigint;
  readonly [openingBrand]: true;
}

/** A ciphertext as it travels and is stored: two big-endian integers of `elementBytes` each. */
export interface EncodedCiphertext {
  readonly a: Uint8Array;
  readonly b: Uint8Array;
}

/** Assemble a ciphertext from components that were computed here. What comes from outside is decoded. */
export function ciphertext(a: bigint, b: bigint): Ciphertext {
  return { a, b } as Ciphertext;
}

/** Assemble an opening from components that were computed here. */
export function maskedOpening(b: bigint, a: bigint | undefined): MaskedOpening {
  return { a, b } as MaskedOpening;
}

/** Encode at the fixed width of the parameters. */
export function encodeCiphertext(
  { a, b }: Ciphertext,
  parameters: PublicParameters,
): { a: Buffer; b: Buffer } {
  const width = parameters.elementBytes;
  return { a: bytesFromInteger(a, width), b: bytesFromInteger(b, width) };
}

/** Encode at the fixed width of the parameters; `a` is empty in the `residue` family. */
export function encodeOpening(
  { a, b }: MaskedOpening,
  parameters: PublicParameters,
): { a: Buffer; b: Buffer } {
  const width = parameters.elementBytes;
  return {
    a: a === undefined ? Buffer.alloc(0) : bytesFromInteger(a, width),
    b: bytesFromInteger(b, width),
  };
}

/**
 * Decode and validate ciphertexts.
 * @param where names the list in an error, e.g. `sample.ciphertexts`.
 * @throws DuoveilError `CIPHERTEXT_INVALID`
 */
export async function decodeCiphertexts(
  encoded: readonly EncodedCiphertext[],
  where: string,
  parameters: PublicParameters,
  engine: ModularEngine,
): Promise<Ciphertext[]> {
  const elements = await decodeElements(
    encoded.flatMap(({ a, b }, i) => [
      { bytes: a, where: `${where}[${String(i)}].a` },
      { bytes: b, where: `${where}[${String(i)}].b` },
    ]),
    parameters,
    engine,
  );
  return encoded.map((_, i) => ciphertext(elements[2 * i] ?? 0n, elements[2 * i + 1] ?? 0n));
}

/**
 * Decode and validate openings: with `a` in the `bcp03` family, without it in the `residue` family.
 * @throws DuoveilError `CIPHERTEXT_INVALID`
 */
export async function decodeOpenings(
  encoded: readonly EncodedCiphertext[],
  where: string,
  parameters: PublicParameters,
  engine: ModularEngine,
): Promise<MaskedOpening[]> {
  if (parameters.family === 'bcp03') {
    const pairs = await decodeCiphertexts(encoded, where, parameters, engine);
    return pairs.map(({ a, b }) => maskedOpening(b, a));
  }
  const surplus = encoded.findIndex(({ a }) => a.length > 0);
  if (surplus >= 0) throw invalid(`${where}[${String(surplus)}].a`, 'must be empty');
  const elements = await decodeElements(
    encoded.map(({ b }, i) => ({ bytes: b, where: `${where}[${String(i)}].b` })),
    parameters,
    engine,
  );
  return elements.map((b) => maskedOpening(b, undefined));
}

/**
 * Decode and validate elements of the group of units modulo `N²`.
 * @throws DuoveilError `CIPHERTEXT_INVALID`
 */
export async function decodeElements(
  encoded: readonly { readonly bytes: Uint8Array; readonly where: string }[],
  parameters: PublicParameters,
  engine: ModularEngine,
): Promise<bigint[]> {
  const { modulus, modulusSquared, elementBytes } = parameters;
  const values = encoded.map(({ bytes, where }) => {
    if (bytes.length !== elementBytes) {
      throw invalid(where, `must have ${String(elementBytes)} bytes`);
    }
    const value = integerFromBytes(bytes);
    if (value === 0n || value >= modulusSquared) throw invalid(where, 'must lie between 0 and N²');
    return value;
  });
  const symbols = await engine.jacobi(
    values.map((value) => value % modulus),
    modulus,
  );
  const outside = symbols.findIndex((symbol) => symbol !== 1);
  if (outside >= 0)
    throw invalid(encoded[outside]?.where ?? '', 'must have Jacobi symbol 1 over N');
  return values;
}

function invalid(field: string, requirement: string): Error {
  return duoveilError('CIPHERTEXT_INVALID', `${field} ${requirement}`, { field });
}
