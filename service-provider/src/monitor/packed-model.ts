/** A packed model as the store keeps it: the service provider's share, and what the CSP gave it. */
import type { Ciphertext, PublicParameters } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import type { AdditiveCiphertext, AdditiveKey } from '@duoveil/common/paillier';
import type { CoefficientMasks } from '@duoveil/common/protocols/packed';
import { integerFromBytes } from '@duoveil/common/random';
import { z } from 'zod';

import { packCiphertexts, unpackCiphertexts } from '../store/index.js';

/** What the service provider keeps of a model for its life. */
export interface PackedModel {
  /** `τ`. */
  readonly share: CoefficientMasks;
  /** `Enc(2^s·θ̂ᵢ)`, to the CSP. */
  readonly crossTerms: readonly AdditiveCiphertext[];
  /** The CSP's share, sealed under a key of the CSP's. */
  readonly sealedShare: Buffer;
  /** `Enc(Σφ)` over the window, to the patient: for the patient's own gateway. */
  readonly sums: readonly Ciphertext[];
}

const hexadecimal = z.string().regex(/^[0-9a-f]+$/);

const form = z.strictObject({
  version: z.literal(1),
  constant: hexadecimal,
  determinant: hexadecimal,
  features: z.array(hexadecimal),
  crossTerms: z.array(z.base64()),
  sealedShare: z.base64(),
  sums: z.base64(),
});

export function encodePackedModel(
  model: PackedModel,
  cspKey: AdditiveKey,
  parameters: PublicParameters,
): Buffer {
  const { share, crossTerms, sealedShare, sums } = model;
  const content: z.input<typeof form> = {
    version: 1,
    constant: share.constant.toString(16),
    determinant: share.determinant.toString(16),
    features: share.features.map((mask) => mask.toString(16)),
    crossTerms: crossTerms.map((element) => cspKey.encode(element).toString('base64')),
    sealedShare: sealedShare.toString('base64'),
    sums: packCiphertexts(sums, parameters).toString('base64'),
  };
  return Buffer.from(JSON.stringify(content), 'utf8');
}

/** @throws DuoveilError `STORAGE_FAILED` where the store is damaged */
export function decodePackedModel(content: Uint8Array, parameters: PublicParameters): PackedModel {
  try {
    const text = Buffer.from(content).toString('utf8');
    const { constant, determinant, features, crossTerms, sealedShare, sums } = form.parse(
      JSON.parse(text),
    );
    return {
      share: {
        constant: BigInt(`0x${constant}`),
        determinant: BigInt(`0x${determinant}`),
        features: features.map((digits) => BigInt(`0x${digits}`)),
      },
      crossTerms: crossTerms.map(
        (element) => integerFromBytes(Buffer.from(element, 'base64')) as AdditiveCiphertext,
      ),
      sealedShare: Buffer.from(sealedShare, 'base64'),
      sums: unpackCiphertexts(Buffer.from(sums, 'base64'), parameters),
    };
  } catch (cause) {
    throw duoveilError('STORAGE_FAILED', 'the store holds a damaged model', {}, { cause });
  }
}
