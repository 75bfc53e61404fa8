import type { EncodedCiphertext } from '@duoveil/common/bcp';
import {
  featuresOf,
  featureValues,
  pack,
  packingPlanOf,
  parsePolicy,
  scaleOf,
  type Schema,
} from '@duoveil/common/encoding';
import { inParts } from '@duoveil/common/lists';
import { bytesFromInteger } from '@duoveil/common/random';
import type { GetBaselineSamplesResponse } from '@duoveil/proto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../harness/src/local/engine.js';
import { localParties, type LocalParties } from '../../harness/src/local/parties.js';
import { SeededRandom } from '../../harness/src/local/randomness.js';
import { schemaOfBits } from '../../harness/src/local/schemas.js';
import { readBaseline } from './baseline-samples.js';
import { STATE } from './fixture.js';
import type { GatewayState } from './state.js';

const engine = testEngine();
afterAll(() => engine.close());
const random = new SeededRandom('baseline samples');

/** Of these, a sample has a ciphertext in the packed suite, or several. */
const schemas = { one: schemaOfBits(8, 4), several: schemaOfBits(8, 4, 6, 5) };

type Part = NonNullable<GetBaselineSamplesResponse['part']>;

let parties: LocalParties;
beforeAll(async () => {
  parties = await localParties(512, 'residue', engine, random);
});

function stateOf(schema: Schema, suite: 'packed' | 'reference'): GatewayState {
  const output = suite === 'packed' ? 'level' : 'distance';
  const policy = parsePolicy(
    { window: 7, baseline: 'fixed', thresholdScaled: 483_502, suite, output },
    schema,
    'the policy',
  );
  return { ...STATE, parameters: parties.master.parameters, schema, policy };
}

/** The plaintexts of features, as they lie in a packed sample's ciphertexts. */
function packed(schema: Schema, features: readonly bigint[]): bigint[] {
  const { featureSlots } = packingPlanOf(schema, stateOf(schema, 'packed').policy, 512);
  const { bits, perPlaintext } = featureSlots;
  return inParts(features, perPlaintext).map((part) => pack(part, bits));
}

/** The plaintexts of a sample. */
function plaintextsOf(
  schema: Schema,
  suite: 'packed' | 'reference',
  values: readonly bigint[],
): readonly bigint[] {
  return suite === 'reference'
    ? values
    : packed(schema, featureValues(featuresOf(schema.channels.length), values));
}

const encode = (a: bigint, b: bigint): EncodedCiphertext => ({
  a: bytesFromInteger(a, 128),
  b: bytesFromInteger(b, 128),
});

async function encrypted(plaintexts: readonly bigint[]): Promise<EncodedCiphertext[]> {
  const list = await parties.key.encrypt(plaintexts, random);
  return list.map(({ a, b }) => encode(a, b));
}

const extent = (decided: bigint, samples: number): Part => ({
  $case: 'extent',
  value: { decided, samples },
});

const sample = (
  sequence: bigint,
  ciphertexts: readonly EncodedCiphertext[],
  measuredAtMs?: bigint,
): Part => ({
  $case: 'sample',
  value: { sequence, ciphertexts: [...ciphertexts] as never, measuredAtMs },
});

function read(
  state: GatewayState,
  parts: readonly (Part | undefined)[],
  secretKey = parties.keys.secretKey,
) {
  const answer = async function* (): AsyncGenerator<GetBaselineSamplesResponse, void> {
    await Promise.resolve();
    for (const part of parts) yield { part };
  };
  return readBaseline(answer(), state, secretKey, engine, 'sp');
}

const refusal = { code: 'DECRYPTION_FAILED', message: 'decryption failed' };

describe.each([
  ['one', 'packed'],
  ['several', 'packed'],
  ['several', 'reference'],
] as const)('samples of %s channels in the %s suite', (name, suite) => {
  const schema = schemas[name];
  const p = schema.channels.length;
  const greatest = schema.channels.map((channel) => scaleOf(channel).D);
  const middle = greatest.map((most, j) => most / BigInt(j + 2));

  it('are what was encrypted, up to the extremes', async () => {
    const state = stateOf(schema, suite);
    const all = [middle, greatest, greatest.map(() => 0n)];
    const parts = await Promise.all(
      all.map(async (values, i) =>
        sample(BigInt(2 * i + 3), await encrypted(plaintextsOf(schema, suite, values)), 5n),
      ),
    );
    expect(await read(state, [extent(9n, 3), ...parts])).toEqual({
      decided: 9,
      samples: all.map((values, i) => ({ sequence: 2 * i + 3, values, measuredAt: 5 })),
    });
  });

  it('that are none are refused in the same words', async () => {
    const state = stateOf(schema, suite);
    const { modulus } = parties.master.parameters;
    const good = plaintextsOf(schema, suite, middle);
    const wrong: (readonly bigint[])[] = [
      // A value that is above what its channel has.
      plaintextsOf(
        schema,
        suite,
        [...middle.slice(1), 0n].map((_, j) => (greatest[j] ?? 0n) + 1n),
      ),
      // What is below its least is next to the modulus.
      good.map((plaintext, i) => (i === 0 ? modulus - 1n : plaintext)),
      good.map((plaintext, i) => (i === good.length - 1 ? plaintext + (1n << 300n) : plaintext)),
    ];
    if (suite === 'packed') {
      const features = featureValues(featuresOf(p), middle);
      // A square that is not the value's.
      wrong.push(
        packed(
          schema,
          features.map((value, i) => (i === p ? value + 1n : value)),
        ),
      );
    }
    for (const plaintexts of wrong) {
      const parts = [extent(9n, 1), sample(1n, await encrypted(plaintexts))];
      await expect(read(state, parts)).rejects.toMatchObject(refusal);
    }
    const first = good.slice(1);
    for (const chosen of [encode(1n + modulus, 1n), encode(1n, 4n), encode(4n, 1n)]) {
      const parts = [extent(9n, 1), sample(1n, [chosen, ...(await encrypted(first))])];
      await expect(read(state, parts)).rejects.toMatchObject(refusal);
    }
    const others = await localParties(512, 'residue', engine, new SeededRandom('another'));
    const parts = [extent(9n, 1), sample(1n, await encrypted(good))];
    await expect(read(state, parts, others.keys.secretKey)).rejects.toMatchObject(refusal);
  });
});

describe('samples', () => {
  it('out of their place, or of another form, are a defect of the service provider', async () => {
    const state = stateOf(schemas.one, 'reference');
    const one = await encrypted([1n, 1n]);
    const wrong: (readonly (Part | undefined)[])[] = [
      [],
      [undefined],
      [sample(1n, one)],
      [extent(9n, 1)],
      [extent(9n, 0), extent(9n, 0)],
      [extent(9n, 1), sample(0n, one)],
      [extent(9n, 1), sample(10n, one)],
      [extent(9n, 1), sample(1n, one), sample(2n, one)],
      [extent(9n, 2), sample(2n, one), sample(2n, one)],
      [extent(9n, 1), sample(1n, [])],
      [extent(9n, 1), sample(1n, [...one, ...one])],
      [extent(9n, 1), sample(1n, one, 2n ** 60n)],
      [extent(2n ** 60n, 0)],
    ];
    for (const parts of wrong) {
      await expect(read(state, parts)).rejects.toMatchObject({ code: 'PEER_MISBEHAVED' });
    }
    expect(await read(state, [extent(0n, 0)])).toEqual({ decided: 0, samples: [] });
  });
});
