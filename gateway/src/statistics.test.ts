import type { EncodedCiphertext, SecretKey } from '@duoveil/common/bcp';
import {
  packingPlanOf,
  parsePolicy,
  pack,
  scaleOf,
  unpack,
  type Schema,
} from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { implement, unary, type Connection } from '@duoveil/common/runtime';
import { bytesFromInteger } from '@duoveil/common/random';
import { StatisticsServiceService } from '@duoveil/proto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../harness/src/local/engine.js';
import { localConnection } from '../../harness/src/local/loopback.js';
import { localParties, type LocalParties } from '../../harness/src/local/parties.js';
import { SeededRandom } from '../../harness/src/local/randomness.js';
import { schemaOfBits } from '../../harness/src/local/schemas.js';
import { STATE } from './fixture.js';
import type { GatewayState } from './state.js';
import { fetchStatistics } from './statistics.js';

const engine = testEngine();
afterAll(() => engine.close());
const random = new SeededRandom('statistics');

/** One ciphertext a sample, and one of several. */
const schemas = { one: schemaOfBits(8, 4), several: schemaOfBits(8, 4, 6, 5) };
const WINDOW = 7;

let parties: LocalParties;
beforeAll(async () => {
  parties = await localParties(512, 'residue', engine, random);
});

function stateOf(schema: Schema): GatewayState {
  const policy = parsePolicy(
    {
      window: WINDOW,
      baseline: 'fixed',
      thresholdScaled: 483_502,
      suite: 'packed',
      output: 'level',
    },
    schema,
    'the policy',
  );
  return { ...STATE, parameters: parties.master.parameters, schema, policy };
}

/** The sums of features over a window of extremes: the greatest there are, where `top` is set. */
function sumsOf(schema: Schema, top: boolean): bigint[] {
  const { features } = packingPlanOf(schema, stateOf(schema).policy, 512);
  const D = schema.channels.map((channel) => scaleOf(channel).D);
  const window = Array.from({ length: WINDOW }, (_, i) =>
    D.map((most, j) => (top ? most : (most * BigInt((i * (j + 2)) % WINDOW)) / BigInt(WINDOW))),
  );
  return features.map(([j, k]) =>
    window.reduce(
      (sum, sample) => sum + (sample[j] ?? 0n) * (k === undefined ? 1n : (sample[k] ?? 0n)),
      0n,
    ),
  );
}

/** The plaintexts of sums, as they lie in the ciphertexts. */
function packedSums(schema: Schema, sums: readonly bigint[]): bigint[] {
  const { featureSlots, plaintexts } = packingPlanOf(schema, stateOf(schema).policy, 512);
  const { bits, perPlaintext } = featureSlots;
  return Array.from({ length: plaintexts }, (_, i) =>
    pack(sums.slice(i * perPlaintext, (i + 1) * perPlaintext), bits),
  );
}

const encode = (a: bigint, b: bigint): EncodedCiphertext => ({
  a: bytesFromInteger(a, 128),
  b: bytesFromInteger(b, 128),
});

async function encrypted(plaintexts: readonly bigint[]): Promise<EncodedCiphertext[]> {
  const list = await parties.key.encrypt(plaintexts, random);
  return list.map(({ a, b }) => encode(a, b));
}

function connectionOf(sums: () => readonly EncodedCiphertext[]): Connection {
  const service = implement(StatisticsServiceService, {
    getStatistics: unary({ roles: ['gateway'], timeoutMs: 1000 }, () =>
      Promise.resolve({ model: 3, throughSequence: 9n, sums: [...sums()] as never }),
    ),
  });
  return localConnection(() => service);
}

const fetch = (
  schema: Schema,
  sums: readonly EncodedCiphertext[],
  secretKey: SecretKey = parties.keys.secretKey,
) =>
  fetchStatistics(
    connectionOf(() => sums),
    stateOf(schema),
    secretKey,
    engine,
  );

const refusal = { code: 'DECRYPTION_FAILED', message: 'decryption failed' };

describe.each(['one', 'several'] as const)('statistics, of %s ciphertext', (name) => {
  const schema = schemas[name];

  it('are mean and covariance of the window', async () => {
    const sums = sumsOf(schema, false);
    const statistics = await fetch(schema, await encrypted(packedSums(schema, sums)));
    const p = schema.channels.length;
    expect(statistics).toMatchObject({ model: 3, throughSequence: 9, window: WINDOW });
    expect(statistics.mean).toEqual(Array.from({ length: p }, (_, j) => Number(sums[j]) / WINDOW));
    const { features } = packingPlanOf(schema, stateOf(schema).policy, 512);
    features.forEach(([j, k], i) => {
      if (k === undefined) return;
      const n = BigInt(WINDOW);
      const moment = n * (sums[i] ?? 0n) - (sums[j] ?? 0n) * (sums[k] ?? 0n);
      const expected = Number(moment) / (WINDOW * (WINDOW - 1));
      expect(statistics.covariance[j]?.[k]).toBeCloseTo(expected, 9);
      expect(statistics.covariance[k]?.[j]).toBe(statistics.covariance[j]?.[k]);
    });
  });

  it('at their bounds are taken', async () => {
    const sums = await encrypted(packedSums(schema, sumsOf(schema, true)));
    const { mean, covariance } = await fetch(schema, sums);
    expect(mean).toEqual(schema.channels.map((channel) => Number(scaleOf(channel).D)));
    expect(covariance.flat().every((value) => value === 0)).toBe(true);
  });

  it('with any one slot beyond its bound are refused, by one or by as much as fits', async () => {
    const sums = sumsOf(schema, true);
    const plan = packingPlanOf(schema, stateOf(schema).policy, 512);
    const largest = (1n << BigInt(plan.featureSlots.bits)) - 1n;
    expect(sums).toHaveLength(plan.features.length);
    for (const [slot, value] of sums.entries()) {
      for (const wrong of [value + 1n, largest]) {
        const changed = sums.map((sum, i) => (i === slot ? wrong : sum));
        const plaintexts = packedSums(schema, changed);
        // The slot alone is wrong: nothing has run over into its neighbour.
        const { bits, perPlaintext } = plan.featureSlots;
        const part = Math.floor(slot / perPlaintext);
        expect(unpack(plaintexts[part] ?? 0n, bits, perPlaintext)[slot % perPlaintext]).toBe(wrong);
        await expect(fetch(schema, await encrypted(plaintexts))).rejects.toMatchObject(refusal);
      }
    }
  });

  it('with any bit above the slots are refused, in each ciphertext', async () => {
    const plan = packingPlanOf(schema, stateOf(schema).policy, 512);
    const { bits, perPlaintext } = plan.featureSlots;
    const plaintexts = packedSums(schema, sumsOf(schema, false));
    for (const [i, plaintext] of plaintexts.entries()) {
      const slots = Math.min(perPlaintext, plan.features.length - i * perPlaintext);
      const lowest = bits * slots;
      for (const bit of [lowest, lowest + 1, lowest + 64, 510]) {
        const changed = plaintexts.map((other, k) =>
          k === i ? plaintext + (1n << BigInt(bit)) : other,
        );
        await expect(fetch(schema, await encrypted(changed))).rejects.toMatchObject(refusal);
      }
    }
  });

  it('that are no encryption, or of something else, are refused with the same words', async () => {
    const { modulus } = parties.master.parameters;
    const plaintexts = packedSums(schema, sumsOf(schema, false));
    const good = await encrypted(plaintexts);
    const bad = [
      // (1, 1 + N·m) opens to m whatever the key is: m = N - 1, and 2^400.
      encode(1n, 1n + modulus * (modulus - 1n)),
      encode(1n, 1n + modulus * (1n << 400n)),
      // The two halves exchanged: their component is no power of the key.
      encode(1n + modulus, 1n),
      // A square beside nothing.
      encode(1n, 4n),
      encode(4n, 1n),
    ];
    const last = good.length - 1;
    for (const wrong of bad) {
      const sums = good.map((sum, i) => (i === last ? wrong : sum));
      await expect(fetch(schema, sums)).rejects.toMatchObject(refusal);
    }
  });

  it('under another patient’s key are refused with the same words', async () => {
    const others = await localParties(512, 'residue', engine, new SeededRandom('another'));
    const plaintexts = packedSums(schema, sumsOf(schema, false));
    const sums = await encrypted(plaintexts);
    await expect(fetch(schema, sums, others.keys.secretKey)).rejects.toMatchObject(refusal);
  });

  it('of another number of ciphertexts are a defect of the service provider', async () => {
    const good = await encrypted(packedSums(schema, sumsOf(schema, false)));
    for (const sums of [[], good.slice(1), [...good, ...good]]) {
      await expect(fetch(schema, sums)).rejects.toMatchObject({ code: 'PEER_MISBEHAVED' });
    }
  });

  it('outside of the group are refused before they are opened', async () => {
    const { modulus } = parties.master.parameters;
    const good = await encrypted(packedSums(schema, sumsOf(schema, false)));
    for (const wrong of [
      encode(0n, 1n),
      encode(1n, 0n),
      encode(modulus, 1n),
      encode(1n, modulus ** 2n),
    ]) {
      const sums = [...good.slice(1), wrong];
      await expect(fetch(schema, sums)).rejects.toMatchObject({ code: 'CIPHERTEXT_INVALID' });
    }
  });
});

describe('statistics', () => {
  it.each([1n, 100n])('of the message %s beside a one are refused: (1 + N·m, 1)', async (m) => {
    const schema = schemas.one;
    const { modulus } = parties.master.parameters;
    // A first component of the form 1 + N·m shows the secret key modulo N, if it is opened and shown.
    const sums = [encode(1n + m * modulus, 1n)];
    await expect(fetch(schema, sums)).rejects.toMatchObject(refusal);
  });

  it('that the service provider refuses are refused with its reason', async () => {
    const state = stateOf(schemas.one);
    const service = implement(StatisticsServiceService, {
      getStatistics: unary({ roles: ['gateway'], timeoutMs: 1000 }, () =>
        Promise.reject(duoveilError('NOT_READY', 'there is no baseline yet')),
      ),
    });
    const connection = localConnection(() => service);
    await expect(
      fetchStatistics(connection, state, parties.keys.secretKey, engine),
    ).rejects.toMatchObject({ code: 'NOT_READY' });
  });
});
