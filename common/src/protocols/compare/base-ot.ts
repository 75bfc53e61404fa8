/**
 * Base oblivious transfers: random ones, of 16-byte keys, 128 at a time, once a connection.
 *
 * D. Masny, P. Rindal, *Endemic oblivious transfer*, CCS 2019, the two-round protocol from CDH, over
 * ristretto255 (RFC 9496) with hashing to the group by RFC 9380.
 *
 * | step | who | does |
 * |---|---|---|
 * | 1 | sender | `A = a·G` |
 * | 2 | receiver | for choice `c`: `M_{1-c}` at random, `M_c = b·G - H(M_{1-c})`; sends both |
 * | 3 | sender | keys `KDF(a·(M_i + H(M_{1-i})))`, `i = 0, 1`; the receiver has `KDF(b·A)` |
 *
 * The sender does not learn `c`; the receiver does not learn the other key.
 */
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { ristretto255, ristretto255_hasher } from '@noble/curves/ed25519.js';

import { duoveilError } from '../../errors.js';
import { uniformBelow, type RandomSource } from '../../random.js';

/** How many base transfers an extension needs: its security parameter. */
export const BASE_TRANSFERS = 128;

/** Bytes of a group element, and of a key. */
export const GROUP_BYTES = 32;
export const KEY_BYTES = 16;

/** The tag under which a random element is drawn: nobody knows its logarithm. */
const RANDOM_ELEMENT = 'duoveil/base-ot/random/v1';

const { Point } = ristretto255;
type Element = InstanceType<typeof Point>;

/** What the sender remembers between step 1 and step 3: used for one set of transfers. */
export interface BaseSender {
  readonly secret: bigint;
  readonly message: Uint8Array;
}

/** Step 1, sender. */
export function offerTransfers(random: RandomSource): BaseSender {
  const secret = drawScalar(random);
  return { secret, message: Point.BASE.multiply(secret).toBytes() };
}

/**
 * Step 2, receiver.
 * @returns the message, two elements for each choice, and the key of each choice
 * @throws DuoveilError `MESSAGE_INVALID`
 */
export async function chooseTransfers(
  offer: Uint8Array,
  choices: readonly boolean[],
  random: RandomSource,
): Promise<{ message: Uint8Array; keys: Uint8Array[] }> {
  const sender = decodeElement(offer, 'offer');
  const message = new Uint8Array(2 * GROUP_BYTES * choices.length);
  const keys: Uint8Array[] = [];
  for (const [index, choice] of choices.entries()) {
    const scalar = drawScalar(random);
    const other = ristretto255_hasher.hashToCurve(random.bytes(64), { DST: RANDOM_ELEMENT });
    const otherBytes = other.toBytes();
    const own = Point.BASE.multiply(scalar).subtract(hashToGroup(otherBytes, index));
    const [zero, one] = choice ? [otherBytes, own.toBytes()] : [own.toBytes(), otherBytes];
    message.set(zero, 2 * GROUP_BYTES * index);
    message.set(one, GROUP_BYTES * (2 * index + 1));
    keys.push(deriveKey(sender.multiply(scalar), offer, index));
    await nextTurn();
  }
  return { message, keys };
}

/**
 * Step 3, sender: both keys of each transfer.
 * @throws DuoveilError `MESSAGE_INVALID`
 */
export async function acceptTransfers(
  { secret, message: offer }: BaseSender,
  message: Uint8Array,
): Promise<(readonly [zero: Uint8Array, one: Uint8Array])[]> {
  if (message.length !== 2 * GROUP_BYTES * BASE_TRANSFERS) {
    throw invalid('choices', `must have ${2 * GROUP_BYTES * BASE_TRANSFERS} bytes`);
  }
  const keys: (readonly [Uint8Array, Uint8Array])[] = [];
  for (let index = 0; index < BASE_TRANSFERS; index++) {
    const at = 2 * GROUP_BYTES * index;
    const zero = message.subarray(at, at + GROUP_BYTES);
    const one = message.subarray(at + GROUP_BYTES, at + 2 * GROUP_BYTES);
    const keyOf = (own: Uint8Array, other: Uint8Array): Uint8Array => {
      const element = decodeElement(own, 'choices').add(hashToGroup(other, index));
      if (element.equals(Point.ZERO))
        throw invalid('choices', 'hold an element that is not allowed');
      return deriveKey(element.multiply(secret), offer, index);
    };
    keys.push([keyOf(zero, one), keyOf(one, zero)]);
    await nextTurn();
  }
  return keys;
}

function drawScalar(random: RandomSource): bigint {
  return 1n + uniformBelow(Point.Fn.ORDER - 1n, random);
}

/** An element other than the identity, which makes keys that everybody knows. */
function decodeElement(bytes: Uint8Array, field: string): Element {
  let element: Element;
  try {
    element = Point.fromBytes(Uint8Array.from(bytes));
  } catch {
    throw invalid(field, 'must hold elements of ristretto255');
  }
  if (element.equals(Point.ZERO)) throw invalid(field, 'hold an element that is not allowed');
  return element;
}

function hashToGroup(element: Uint8Array, index: number): Element {
  return ristretto255_hasher.hashToCurve(Uint8Array.from(element), {
    DST: `duoveil/base-ot/v1/${index}`,
  });
}

function deriveKey(shared: Element, offer: Uint8Array, index: number): Uint8Array {
  return createHash('sha256')
    .update(`duoveil/base-ot/key/v1/${index}/`)
    .update(offer)
    .update(shared.toBytes())
    .digest()
    .subarray(0, KEY_BYTES);
}

function invalid(field: string, requirement: string): Error {
  return duoveilError('MESSAGE_INVALID', `${field} ${requirement}`, { field });
}
