import { describe, expect, it } from 'vitest';

import { systemRandom } from '../random.js';
import { openBox, sealBox } from './aead.js';
import { queuedRandom } from './fixture.js';

const key = Buffer.alloc(32, 1);
const place = Buffer.from('sample 7');
const plaintext = Buffer.from('a reading');

describe('a box', () => {
  it('is nonce, ciphertext and tag, the same bytes as ever', () => {
    const box = sealBox(key, plaintext, place, queuedRandom(Buffer.alloc(12, 5)));
    expect(box.toString('hex')).toBe(
      '0505050505050505050505056082935003d65ae912825b3043417ee5011ca065b9e94cde21',
    );
  });

  it('opens under its key, at its place, and nowhere else', () => {
    const box = sealBox(key, plaintext, place, systemRandom);
    expect(openBox(key, box, place)).toEqual(plaintext);
    expect(openBox(Buffer.alloc(32, 2), box, place)).toBeUndefined();
    expect(openBox(key, box, Buffer.from('sample 8'))).toBeUndefined();
    expect(openBox(key, box, Buffer.alloc(0))).toBeUndefined();
  });

  it('may hold nothing, and belong nowhere', () => {
    const nothing = Buffer.alloc(0);
    const box = sealBox(key, nothing, nothing, systemRandom);
    expect(box).toHaveLength(28);
    expect(openBox(key, box, nothing)).toEqual(nothing);
    expect(openBox(key, box, place)).toBeUndefined();
  });

  it('does not open with a bit flipped anywhere, or cut short', () => {
    const box = sealBox(key, plaintext, place, systemRandom);
    for (let bit = 0; bit < box.length * 8; bit += 1) {
      const flipped = Buffer.from(box);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(openBox(key, flipped, place)).toBeUndefined();
    }
    for (let length = 0; length < box.length; length += 1) {
      expect(openBox(key, box.subarray(0, length), place)).toBeUndefined();
    }
  });
});
