import { createHash } from 'node:crypto';

import {
  decodeChannels,
  encodeChannels,
  packingPlan,
  type EncodedChannel,
  type PackingPlan,
  type Schema,
} from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { AdditiveCiphertext } from '@duoveil/common/paillier';
import {
  keepProviderShare,
  type CspModel,
  type MaskedCoefficients,
} from '@duoveil/common/protocols/packed';
import type { RandomSource } from '@duoveil/common/random';
import { openBox, sealBox } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';
import { z } from 'zod';

import { BoundedCache } from './bounded-cache.js';
import type { KeyOwner } from './patient-keys.js';
import type { RegisteredProvider } from './provider-keys.js';

/** Models whose tables are kept at once, some 150 KB each. */
const CAPACITY = 512;

/** What a sealed share belongs to, beside the parameters. */
export interface ShareBinding {
  /** The patient's key, in hexadecimal digits. */
  readonly keyId: string;
  /** The service provider's identity. Not its additive key: that one lives as long as its process. */
  readonly provider: string;
  /** The model's number with the service provider. */
  readonly number: number;
}

/** A model in the cache. */
export interface LoadedModel {
  readonly owner: KeyOwner;
  readonly plan: PackingPlan;
  readonly provider: RegisteredProvider;
  readonly model: CspModel;
}

/** What a model's packing plan follows from. */
export interface Shape {
  readonly schema: Schema;
  readonly window: number;
  /** For level output, ascending; undefined for distance output. */
  readonly thresholds: readonly bigint[] | undefined;
}

/** The plan of a shape. */
export function planOf({ schema, window, thresholds }: Shape, modulusBits: number): PackingPlan {
  return packingPlan(schema, window, modulusBits, thresholds);
}

/** What seals: everything but the share itself, bound to whose it is. */
const sealedSchema = z.strictObject({
  window: z.int(),
  thresholds: z.array(z.string().regex(/^\d+$/)).optional(),
  channels: z.array(z.custom<EncodedChannel>((value) => typeof value === 'object')),
  constant: z.string().regex(/^[0-9a-f]+$/),
  determinant: z.string().regex(/^[0-9a-f]+$/),
  features: z.array(z.string().regex(/^[0-9a-f]+$/)),
});

/**
 * The CSP's halves of models. It keeps none for good: what it needs again is with the service
 * provider, sealed under a key that follows from the master key (AES-256-GCM), bound to parameters,
 * patient's key, service provider and model number. The cache is bounded and may lose a model at any time.
 */
export class Models {
  readonly #sealing: Secret<Uint8Array>;
  readonly #modulusBits: number;
  readonly #context: string;
  readonly #cache = new BoundedCache<LoadedModel>(CAPACITY);

  /** @param context what all sealed shares are bound to: the parameters' digest */
  constructor(sealing: Secret<Uint8Array>, modulusBits: number, context: string) {
    this.#sealing = sealing;
    this.#modulusBits = modulusBits;
    this.#context = context;
  }

  /** Seal the CSP's share of a model. */
  seal(
    binding: ShareBinding,
    { schema, window, thresholds }: Shape,
    share: MaskedCoefficients,
    random: RandomSource,
  ): Buffer {
    const plaintext = JSON.stringify({
      window,
      thresholds: thresholds?.map(String),
      channels: encodeChannels(schema),
      constant: share.constant.toString(16),
      determinant: share.determinant.toString(16),
      features: share.features.map((coefficient) => coefficient.toString(16)),
    });
    const bytes = Buffer.from(plaintext, 'utf8');
    return sealBox(this.#sealing.reveal(), bytes, this.#associated(binding), random);
  }

  /**
   * Open a sealed share.
   * @throws DuoveilError `UNSEALING_FAILED`, the same for every cause
   */
  unseal(
    binding: ShareBinding,
    sealed: Uint8Array,
  ): { readonly shape: Shape; readonly share: MaskedCoefficients } {
    try {
      const plaintext = openBox(this.#sealing.reveal(), sealed, this.#associated(binding));
      if (plaintext === undefined) throw new Error('it is not authentic');
      const content = sealedSchema.parse(JSON.parse(plaintext.toString('utf8')));
      return {
        shape: {
          schema: decodeChannels(content.channels, 'sealed share'),
          window: content.window,
          thresholds: content.thresholds?.map(BigInt),
        },
        share: {
          constant: BigInt(`0x${content.constant}`),
          determinant: BigInt(`0x${content.determinant}`),
          features: content.features.map((digits) => BigInt(`0x${digits}`)),
        },
      };
    } catch (cause) {
      throw duoveilError('UNSEALING_FAILED', 'the sealed share does not open', {}, { cause });
    }
  }

  /**
   * Keep a model ready for scoring.
   * @returns 32 bytes that name it, together with the provider key that it is for
   */
  load(
    owner: KeyOwner,
    sealed: Uint8Array,
    providerKeyId: Uint8Array,
    shape: Shape,
    share: MaskedCoefficients,
    provider: RegisteredProvider,
    providerShare: readonly AdditiveCiphertext[],
  ): Buffer {
    const plan = planOf(shape, this.#modulusBits);
    const id = createHash('sha256').update(providerKeyId);
    for (const element of providerShare) id.update(provider.key.encode(element));
    const name = id.update(sealed).digest();
    this.#cache.set(name.toString('hex'), {
      owner,
      plan,
      provider,
      model: { share, providerShare: keepProviderShare(plan, provider, providerShare) },
    });
    return name;
  }

  /** @throws DuoveilError `MODEL_NOT_LOADED` */
  find(id: Uint8Array): LoadedModel {
    const model = this.#cache.get(Buffer.from(id).toString('hex'));
    if (model === undefined) {
      throw duoveilError(
        'MODEL_NOT_LOADED',
        'the model is not in the cache: load it and try again',
      );
    }
    return model;
  }

  #associated({ keyId, provider, number }: ShareBinding): Buffer {
    const parts = ['duoveil/model-share/v2', this.#context, keyId, String(number), provider];
    return Buffer.from(parts.join('/'), 'utf8');
  }
}
