import { elementAt } from '@duoveil/common/lists';
import { encryptProviderShare } from '@duoveil/common/protocols/packed';
import { uniformBelow } from '@duoveil/common/random';
import { parsePatientId } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { afterAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../harness/src/local/engine.js';
import { packedKeys, packedRoles } from '../../../harness/src/local/packed.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { schemaOfBits } from '../../../harness/src/local/schemas.js';
import { Models } from './models.js';
import { ZeroPool } from './zero-pool.js';

const engine = testEngine();
afterAll(() => engine.close());

const owner = { keyId: 'ab'.repeat(32), patient: parsePatientId('ward-3.bed-12', 'patient') };
const binding = { keyId: owner.keyId, provider: 'spiffe://test.internal/sp', number: 7 };
const schema = schemaOfBits(8);
const random = new SeededRandom('models');
const made = packedKeys(512, engine, random);
const modelsOf = (byte = 1, digest = 'aa') =>
  new Models(new Secret(new Uint8Array(32).fill(byte)), 512, digest);

async function stage() {
  const roles = packedRoles(await made, schema, 3);
  const value = () => uniformBelow(roles.plan.field.order, random);
  const share = { constant: value(), features: [value(), value()], determinant: value() };
  const shape = { schema, window: 3, thresholds: undefined };
  const models = modelsOf();
  return { roles, share, shape, models, sealed: models.seal(binding, shape, share, random) };
}

describe('a sealed share', () => {
  it('opens to what was sealed, for what it is bound to, also on another replica', async () => {
    const { sealed, share, shape } = await stage();
    const opened = modelsOf().unseal(binding, sealed);
    expect(opened.share).toEqual(share);
    expect(opened.shape).toEqual(expect.objectContaining({ schema, window: shape.window }));
  });

  it('shows nothing of the share, and is another each time', async () => {
    const { sealed, share, shape, models } = await stage();
    const again = models.seal(binding, shape, share, random);
    expect(again).not.toEqual(sealed);
    for (const text of ['C0', share.constant.toString(16), 'features']) {
      expect(sealed.includes(text)).toBe(false);
    }
    // GCM fails for good where a nonce comes twice.
    const nonces = Array.from({ length: 200 }, () =>
      models.seal(binding, shape, share, random).subarray(0, 12).toString('hex'),
    );
    expect(new Set(nonces).size).toBe(200);
  });

  it('does not open with anything changed, and does not say what', async () => {
    const { sealed, models } = await stage();
    const errors: unknown[] = [];
    const attempt = (target: Models, who: typeof binding, bytes: Uint8Array) => {
      try {
        target.unseal(who, bytes);
      } catch (error) {
        errors.push(error);
      }
    };
    const flipped = Array.from({ length: sealed.length }, (_, i) => {
      const bytes = Buffer.from(sealed);
      bytes[i] = (bytes[i] ?? 0) ^ (1 << (i % 8));
      return bytes;
    });
    const truncated = Array.from({ length: sealed.length }, (_, i) => sealed.subarray(0, i));
    const shifted = [sealed.subarray(1), Buffer.concat([sealed, Buffer.alloc(1)])];
    for (const bytes of [...flipped, ...truncated, ...shifted]) attempt(models, binding, bytes);
    attempt(models, { ...binding, keyId: 'ac'.repeat(32) }, sealed);
    attempt(models, { ...binding, provider: 'spiffe://other.internal/sp' }, sealed);
    attempt(models, { ...binding, number: 8 }, sealed);
    attempt(modelsOf(2), binding, sealed);
    attempt(modelsOf(1, 'ab'), binding, sealed);
    expect(errors).toHaveLength(2 * sealed.length + 7);
    for (const error of errors) {
      expect(error).toMatchObject({
        code: 'UNSEALING_FAILED',
        message: 'the sealed share does not open',
        details: {},
      });
    }
  });
});

describe('the models', () => {
  const load = async (count: number) => {
    const { roles, share, shape, models, sealed } = await stage();
    const provider = { ...roles.keys.provider, pool: new ZeroPool(roles.keys.provider) };
    const masks = { ...share, features: [1n, 2n] };
    const list = await encryptProviderShare(roles.sp.own.key, masks, random, roles.plan);
    const names = Array.from({ length: count }, (_, i) => {
      const bytes = Buffer.concat([sealed, Buffer.from(String(i))]);
      return models.load(owner, bytes, Buffer.alloc(32), shape, share, provider, list);
    });
    return { provider, share, shape, models, sealed, list, names };
  };

  it('are found by names that follow from share, provider key and sealed share', async () => {
    const { models, names, sealed, shape, share, provider, list } = await load(1);
    const name = elementAt(names, 0);
    expect(name).toHaveLength(32);
    expect(models.find(name).model.share).toEqual(share);
    const bytes = Buffer.concat([sealed, Buffer.from('0')]);
    const nameOf = (seal: Uint8Array, id: Buffer, elements: typeof list) =>
      models.load(owner, seal, id, shape, share, provider, elements).toString('hex');
    const all = [
      nameOf(bytes, Buffer.alloc(32), list),
      nameOf(sealed, Buffer.alloc(32), list),
      nameOf(bytes, Buffer.alloc(32, 1), list),
      nameOf(bytes, Buffer.alloc(32), [...list].reverse()),
    ];
    expect(all[0]).toBe(name.toString('hex'));
    expect(new Set(all).size).toBe(4);
  });

  it('are forgotten where 512 others were used since', async () => {
    const { models, names } = await load(512);
    const [first, second, third] = names as [Buffer, Buffer, Buffer];
    models.find(first);
    models.find(third);
    const more = await load(1);
    models.load(
      owner,
      Buffer.from('one more'),
      Buffer.alloc(32),
      more.shape,
      more.share,
      more.provider,
      more.list,
    );
    expect(() => models.find(second)).toThrow(
      expect.objectContaining({ code: 'MODEL_NOT_LOADED' }),
    );
    expect(models.find(first).plan.p).toBe(1);
    expect(models.find(third).plan.p).toBe(1);
  });

  it('do not have what was never loaded', () => {
    for (const name of [Buffer.alloc(0), Buffer.alloc(32)]) {
      expect(() => modelsOf().find(name)).toThrow(
        expect.objectContaining({ code: 'MODEL_NOT_LOADED' }),
      );
    }
  });
});
