/**
 * Public parameters of the BCP cryptosystem: a modulus and a generator.
 *
 * E. Bresson, D. Catalano, D. Pointcheval, *A simple public-key cryptosystem with a double trapdoor
 * decryption mechanism and its applications*, Asiacrypt 2003, section 3. The `residue` family is the
 * generator of X. Liu, R. H. Deng, K.-K. R. Choo, J. Weng, *An efficient privacy-preserving outsourced
 * calculation toolkit with multiple keys*, IEEE TIFS 11(11), 2016.
 */
import { createHash } from 'node:crypto';

import { duoveilError } from '../errors.js';
import type { ModularEngine } from '../modular/index.js';
import { bitLength } from '../integers.js';
import { bytesFromInteger, integerFromBytes } from '../random.js';

/**
 * Two families of generator; one scheme and one ciphertext format.
 * - `bcp03`: a square of order `N·p'·q'`, as in the paper of 2003.
 * - `residue`: `x^(2N) mod N²`, of order `p'·q'`: master decryption needs `B` alone and short
 *   exponents are safe.
 */
export type GeneratorFamily = 'bcp03' | 'residue';

export const GENERATOR_FAMILIES: readonly GeneratorFamily[] = ['bcp03', 'residue'];

/** The least and the greatest |N| that the software handles at all, in bits. */
export const MODULUS_BITS_RANGE = { least: 512, greatest: 8192 } as const;

/** Public parameters. Make them with {@link publicParameters}, which derives the rest. */
export interface PublicParameters {
  readonly family: GeneratorFamily;
  /** `N = pq`. */
  readonly modulus: bigint;
  /** `N²`: the modulus of ciphertexts and keys. */
  readonly modulusSquared: bigint;
  /** `g`. */
  readonly generator: bigint;
  /** |N| in bits. */
  readonly bits: number;
  /** Bytes of an integer below `N`. */
  readonly plaintextBytes: number;
  /** Bytes of an integer below `N²`, half a ciphertext. */
  readonly elementBytes: number;
  /** SHA-256 over family, modulus and generator, in hexadecimal: what everybody pins. */
  readonly digest: ParametersDigest;
}

declare const digestBrand: unique symbol;

/** 64 lower-case hexadecimal digits that name one set of public parameters. */
export type ParametersDigest = string & { readonly [digestBrand]: true };

/** @throws DuoveilError `OPTION_INVALID` where the text is not 64 hexadecimal digits. */
export function parseParametersDigest(text: string, option: string): ParametersDigest {
  const digest = text.trim().toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(digest)) {
    throw duoveilError(
      'OPTION_INVALID',
      `${option} must be the 64 hexadecimal digits that "duoveil csp init" printed`,
      { option },
    );
  }
  return digest as ParametersDigest;
}

/** Derive everything that follows from family, `N` and `g`. Checks nothing: see {@link checkParameters}. */
export function publicParameters(
  family: GeneratorFamily,
  modulus: bigint,
  generator: bigint,
): PublicParameters {
  const bits = bitLength(modulus);
  const modulusSquared = modulus * modulus;
  const plaintextBytes = Math.ceil(bits / 8);
  const elementBytes = Math.ceil(bitLength(modulusSquared) / 8);
  return Object.freeze({
    family,
    modulus,
    modulusSquared,
    generator,
    bits,
    plaintextBytes,
    elementBytes,
    digest: digestOf(family, modulus, plaintextBytes, generator, elementBytes),
  });
}

function digestOf(
  family: GeneratorFamily,
  modulus: bigint,
  plaintextBytes: number,
  generator: bigint,
  elementBytes: number,
): ParametersDigest {
  return createHash('sha256')
    .update(`duoveil/bcp-parameters/v1/${family}/${String(plaintextBytes)}/`)
    .update(bytesFromInteger(modulus, plaintextBytes))
    .update(bytesFromInteger(generator, elementBytes))
    .digest('hex') as ParametersDigest;
}

/**
 * What can be checked of parameters without the factors: lengths, ranges and the Jacobi symbol of the
 * generator. It does not show that they are honest; the pinned digest does.
 * @throws DuoveilError `PARAMETERS_INVALID`
 */
export async function checkParameters(
  parameters: PublicParameters,
  engine: ModularEngine,
): Promise<void> {
  const { modulus, generator, bits, modulusSquared } = parameters;
  const { least, greatest } = MODULUS_BITS_RANGE;
  if (bits < least || bits > greatest || bits % 2 !== 0) {
    throw parametersInvalid(
      'modulus',
      `must have an even number of bits between ${String(least)} and ${String(greatest)}`,
    );
  }
  if ((modulus & 1n) === 0n) throw parametersInvalid('modulus', 'must be odd');
  if (generator <= 1n || generator >= modulusSquared - 1n) {
    throw parametersInvalid('generator', 'must lie between 1 and N² - 1');
  }
  const [symbol] = await engine.jacobi([generator % modulus], modulus);
  if (symbol !== 1) throw parametersInvalid('generator', 'must have Jacobi symbol 1');
}

/** @throws DuoveilError `PARAMETERS_MISMATCH` where these are not the parameters that were pinned. */
export function requirePinned(parameters: PublicParameters, pinned: ParametersDigest): void {
  if (parameters.digest !== pinned) {
    throw duoveilError(
      'PARAMETERS_MISMATCH',
      `the parameters offered are not the pinned ones: expected the digest ${pinned}`,
      { expected: pinned },
    );
  }
}

/**
 * A peer states by their digest which parameters it means; whatever it sent, the answer names ours.
 * @throws DuoveilError `PARAMETERS_MISMATCH` where these are not the parameters that the peer means
 */
export function requireMeant(parameters: PublicParameters, stated: Uint8Array): void {
  if (Buffer.from(parameters.digest, 'hex').equals(stated)) return;
  throw duoveilError(
    'PARAMETERS_MISMATCH',
    `the request is for other parameters than those here, whose digest is ${parameters.digest}`,
    { expected: parameters.digest },
  );
}

/** Parameters as they travel: numbers and names are those of `duoveil.v1.PublicParameters`. */
export interface EncodedParameters {
  readonly version: number;
  readonly family: number;
  readonly modulus: Uint8Array;
  readonly generator: Uint8Array;
}

/** The format of {@link EncodedParameters}. */
const ENCODING_VERSION = 1;

/** A family's number in `duoveil.v1.GeneratorFamily`. */
const FAMILY_NUMBERS: Readonly<Record<GeneratorFamily, number>> = { bcp03: 1, residue: 2 };

/** Encode for the wire. */
export function encodeParameters(parameters: PublicParameters): {
  version: number;
  family: number;
  modulus: Buffer;
  generator: Buffer;
} {
  const { family, modulus, generator, plaintextBytes, elementBytes } = parameters;
  return {
    version: ENCODING_VERSION,
    family: FAMILY_NUMBERS[family],
    modulus: bytesFromInteger(modulus, plaintextBytes),
    generator: bytesFromInteger(generator, elementBytes),
  };
}

/**
 * Decode and check; whoever uses them compares their digest with the pinned one besides.
 * @throws DuoveilError `PARAMETERS_INVALID`
 */
export async function decodeParameters(
  encoded: EncodedParameters,
  engine: ModularEngine,
): Promise<PublicParameters> {
  if (encoded.version !== ENCODING_VERSION) {
    throw parametersInvalid('version', `must be ${String(ENCODING_VERSION)}`);
  }
  const family = GENERATOR_FAMILIES.find((name) => FAMILY_NUMBERS[name] === encoded.family);
  if (family === undefined) throw parametersInvalid('family', 'must be BCP03 or RESIDUE');
  const greatestBytes = MODULUS_BITS_RANGE.greatest / 8;
  if (encoded.modulus.length > greatestBytes || encoded.generator.length > 2 * greatestBytes) {
    throw parametersInvalid(
      'modulus',
      `must have at most ${String(MODULUS_BITS_RANGE.greatest)} bits`,
    );
  }
  const modulus = integerFromBytes(encoded.modulus);
  const generator = integerFromBytes(encoded.generator);
  if (generator >= modulus * modulus) {
    throw parametersInvalid('generator', 'must lie between 1 and N² - 1');
  }
  const parameters = publicParameters(family, modulus, generator);
  await checkParameters(parameters, engine);
  return parameters;
}

/** An error that names the field of the parameters and what would be right. */
export function parametersInvalid(field: string, requirement: string): Error {
  return duoveilError('PARAMETERS_INVALID', `parameters: ${field} ${requirement}`, { field });
}
