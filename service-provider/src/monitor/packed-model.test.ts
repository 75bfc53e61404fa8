import { uniformBelow } from '@duoveil/common/random';
import { afterAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../harness/src/local/engine.js';
import { packedKeys } from '../../../harness/src/local/packed.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { decodePackedModel, encodePackedModel, type PackedModel } from './packed-model.js';

const engine = testEngine();
afterAll(() => engine.close());

async function stage() {
  const random = new SeededRandom('stored');
  const { csp, key, bcp } = await packedKeys(512, engine, random);
  const { parameters } = bcp;
  const value = () => uniformBelow(2n ** 221n - 3n, random);
  const model: PackedModel = {
    share: { constant: value(), features: [0n, value(), 1n], determinant: value() },
    crossTerms: await csp.key.encrypt([1n, 2n, 3n], random),
    sealedShare: Buffer.from(random.bytes(300)),
    sums: await key.encrypt([7n], random),
  };
  return { model, parameters, content: encodePackedModel(model, csp.key, parameters) };
}

describe('a stored model', () => {
  it('is read as it was written', async () => {
    const { model, content, parameters } = await stage();
    expect(decodePackedModel(content, parameters)).toEqual(model);
    expect(decodePackedModel(Uint8Array.from(content), parameters)).toEqual(model);
  });

  it('that is damaged is reported as such, and its content is not', async () => {
    const { content, parameters } = await stage();
    const text = content.toString('utf8');
    const damaged = [
      '',
      text.slice(0, -1),
      text.slice(1),
      text.replace('"version":1', '"version":2'),
      text.replace('"constant":"', '"constant":"-'),
      text.replace('"constant":"', '"constant":"g'),
      text.replace(/"features":\[.*?\]/, '"features":[""]'),
      text.replace('"sealedShare":"', '"sealedShare":"*'),
      text.replace('"version"', '"more":1,"version"'),
      '[]',
      'null',
    ];
    for (const wrong of damaged) {
      expect(wrong).not.toBe(text);
      let caught: unknown;
      try {
        decodePackedModel(Buffer.from(wrong), parameters);
      } catch (error) {
        caught = error;
      }
      expect(caught).toMatchObject({ code: 'STORAGE_FAILED' });
      expect((caught as Error).message).toBe('the store holds a damaged model');
    }
  });
});
