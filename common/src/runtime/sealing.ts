/**
 * Secrets at rest: AES-256-GCM under a passphrase (scrypt) or a 32-byte key (HKDF), as a JSON envelope
 * that states how it was made. Everything in the envelope but the ciphertext is authenticated with it.
 * Each envelope has an AES key of its own, whatever else its secret seals.
 */
import { hkdfSync, scrypt } from 'node:crypto';
import { z } from 'zod';
import { duoveilError } from '../errors.js';
import type { RandomSource } from '../random.js';
import type { Secret } from '../secret.js';
import { NONCE_BYTES, openBox, sealBox, TAG_BYTES } from './aead.js';

/** What seals: a passphrase to stretch, or a key of 32 uniform bytes. */
export type SealingSecret =
  | { readonly kind: 'passphrase'; readonly passphrase: Secret<string> }
  | { readonly kind: 'key'; readonly key: Secret<Uint8Array> };

const base64 = (minimum: number, maximum: number) =>
  z
    .base64()
    .transform((text) => Buffer.from(text, 'base64'))
    .refine((bytes) => bytes.length >= minimum && bytes.length <= maximum);

const powerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value));

// Bounded: whoever can write the file must not make the reader spend more than 1 GiB.
const scryptParameters = z.strictObject({
  name: z.literal('scrypt'),
  N: z
    .int()
    .min(2 ** 14)
    .max(2 ** 20)
    .refine(powerOfTwo),
  r: z.literal(8),
  p: z.int().min(1).max(4),
  salt: base64(16, 64),
});

const envelopeSchema = z.strictObject({
  version: z.literal(1),
  context: z.string().min(1).max(200),
  cipher: z.literal('aes-256-gcm'),
  kdf: z.discriminatedUnion('name', [
    scryptParameters,
    z.strictObject({ name: z.literal('hkdf-sha256'), salt: base64(16, 64) }),
  ]),
  nonce: base64(NONCE_BYTES, NONCE_BYTES),
  ciphertext: base64(0, 16 * 1024 * 1024),
  tag: base64(TAG_BYTES, TAG_BYTES),
});

/** A sealed value, as it is written to JSON. */
export type SealedEnvelope = z.input<typeof envelopeSchema>;

type Header = Pick<z.output<typeof envelopeSchema>, 'version' | 'context' | 'cipher' | 'kdf'>;

/**
 * Seals bytes.
 * @param context what the value is and whose, for example `csp-master-key`; 1 to 200 characters. It
 * opens under the same context only, so that one sealed value cannot stand in for another.
 */
export async function seal(
  plaintext: Uint8Array,
  secret: SealingSecret,
  context: string,
  random: RandomSource,
): Promise<SealedEnvelope> {
  const header: Header = {
    version: 1,
    context,
    cipher: 'aes-256-gcm',
    kdf:
      secret.kind === 'key'
        ? { name: 'hkdf-sha256', salt: Buffer.from(random.bytes(16)) }
        : { name: 'scrypt', N: 2 ** 17, r: 8, p: 1, salt: Buffer.from(random.bytes(16)) },
  };
  const key = await deriveKey(secret, header.kdf);
  const box = sealBox(key, plaintext, authenticated(header), random);
  key.fill(0);
  return {
    ...header,
    kdf: writableKdf(header.kdf),
    nonce: box.subarray(0, NONCE_BYTES).toString('base64'),
    ciphertext: box.subarray(NONCE_BYTES, -TAG_BYTES).toString('base64'),
    tag: box.subarray(-TAG_BYTES).toString('base64'),
  };
}

/**
 * Opens what {@link seal} made.
 * @param envelope as read from JSON; its form is checked here
 * @throws UNSEALING_FAILED: not an envelope, wrong secret, other context, or damaged
 */
export async function unseal(
  envelope: unknown,
  secret: SealingSecret,
  context: string,
): Promise<Buffer> {
  const parsed = envelopeSchema.safeParse(envelope);
  if (!parsed.success || parsed.data.context !== context) {
    throw unsealingFailed(context, 'it is not such a sealed value');
  }
  const { nonce, ciphertext, tag, ...header } = parsed.data;
  if ((header.kdf.name === 'hkdf-sha256') !== (secret.kind === 'key')) {
    const sealedWith = header.kdf.name === 'hkdf-sha256' ? 'a key' : 'a passphrase';
    throw unsealingFailed(context, `it was sealed with ${sealedWith}`);
  }
  const key = await deriveKey(secret, header.kdf);
  const box = Buffer.concat([nonce, ciphertext, tag]);
  const plaintext = openBox(key, box, authenticated(header));
  key.fill(0);
  if (plaintext !== undefined) return plaintext;
  throw unsealingFailed(context, 'wrong secret, or the file is damaged');
}

function unsealingFailed(context: string, why: string): Error {
  return duoveilError('UNSEALING_FAILED', `cannot open the sealed ${context}: ${why}`);
}

function writableKdf(kdf: Header['kdf']): SealedEnvelope['kdf'] {
  return { ...kdf, salt: kdf.salt.toString('base64') };
}

/** The header in one fixed form, whatever the order of keys in the file. */
function authenticated({ version, context, cipher, kdf }: Header): Buffer {
  const salt = kdf.salt.toString('base64');
  const parameters =
    kdf.name === 'scrypt' ? [kdf.name, kdf.N, kdf.r, kdf.p, salt] : [kdf.name, salt];
  return Buffer.from(
    JSON.stringify(['duoveil sealed value', version, context, cipher, parameters]),
  );
}

/** A key of the envelope's own, to be overwritten after use. */
async function deriveKey(secret: SealingSecret, kdf: Header['kdf']): Promise<Uint8Array> {
  if (secret.kind === 'key') {
    const key = secret.key.reveal();
    if (key.length !== 32) throw new RangeError('a sealing key must have 32 bytes');
    return new Uint8Array(hkdfSync('sha256', key, kdf.salt, 'duoveil sealed value', 32));
  }
  if (kdf.name !== 'scrypt') throw new Error('a passphrase is stretched by scrypt');
  const { N, r, p, salt } = kdf;
  // Normalised: the same passphrase typed on another machine may be composed differently.
  const passphrase = secret.passphrase.reveal().normalize('NFC');
  return await new Promise((resolve, reject) => {
    const maxmem = 128 * r * (N + p) + 2 ** 20;
    scrypt(passphrase, salt, 32, { N, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
