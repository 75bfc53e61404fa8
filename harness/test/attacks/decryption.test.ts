/**
 * Ciphertexts that nobody ever encrypted, chosen so that their decryption tells something about the key:
 * an element that is no unit, whose "logarithm" only rounding makes one, and a first component that puts
 * the secret key where the message should be.
 */
import {
  decrypt,
  encodeCiphertext,
  ciphertextOf,
  maskedOpeningOf,
  type Ciphertext,
} from '@duoveil/common/bcp';
import { packingPlanOf, parsePolicy } from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import { encryptSamples } from '@duoveil/common/protocols/packed';
import { bytesFromInteger } from '@duoveil/common/random';
import { implement, parsePatientId, unary } from '@duoveil/common/runtime';
import { StatisticsServiceService } from '@duoveil/proto';
import { afterAll, describe, expect, it } from 'vitest';

import type { GatewayState } from '../../../gateway/src/state.js';
import { fetchStatistics } from '../../../gateway/src/statistics.js';
import { localConnection } from '../../src/local/loopback.js';
import { packedKeys } from '../../src/local/packed.js';
import { localParties } from '../../src/local/parties.js';
import { SeededRandom } from '../../src/local/randomness.js';
import { schemaOfBits } from '../../src/local/schemas.js';
import { call, codeOf, engine, shapeOf, startCsp } from './support.js';

const random = new SeededRandom('attacks/decryption');
const made = packedKeys(512, engine, random);
afterAll(() => engine.close());

const schema = schemaOfBits(8);
const WINDOW = [[60n], [61n], [62n], [60n]];

const inverse = async (value: bigint, modulus: bigint) =>
  elementAt(await engine.ring(modulus).inverses([value]), 0);

/** Decryption as in a textbook whose `L` rounds down: `L(B^λ)/λ mod N`. */
async function uncheckedDecryption(p: bigint, q: bigint, element: bigint): Promise<bigint> {
  const N = p * q;
  const exponent = ((p - 1n) * (q - 1n)) / 2n;
  const [power = 0n] = await engine.ring(N * N).powers([{ base: element, exponent }]);
  // Rounding down, also below zero.
  const logarithm = power === 0n ? N - 1n : (power - 1n) / N;
  return (logarithm * (await inverse(exponent, N))) % N;
}

/** The greatest integer whose square is not above. */
function squareRoot(value: bigint): bigint {
  let [low, high] = [0n, value];
  while (low < high) {
    const middle = (low + high + 1n) / 2n;
    if (middle * middle <= value) low = middle;
    else high = middle - 1n;
  }
  return low;
}

/** The factors of `N`, from `λ = φ/2`. */
function factorsOf(N: bigint, lambda: bigint): bigint[] {
  const sum = N + 1n - 2n * lambda;
  const difference = squareRoot(sum * sum - 4n * N);
  return [(sum - difference) / 2n, (sum + difference) / 2n];
}

describe('an element that is no unit', () => {
  it('gives the factors of N away where L rounds down; is refused when it is decoded, and would not decrypt', async () => {
    const { master, csp: own, bcp, keys, decryption } = await made;
    const { modulus: N } = master.parameters;
    const { p, q } = master.factors.reveal();
    // Control: the textbook decrypts what was encrypted.
    const [honest = 1n] = await own.key.encrypt([12_345n], random);
    expect(await uncheckedDecryption(p, q, honest)).toBe(12_345n);
    // L(0) rounds down to -1: the answer for B = N is -1/λ.
    const answer = await uncheckedDecryption(p, q, N);
    const found = factorsOf(N, await inverse(N - answer, N));
    expect(new Set(found)).toEqual(new Set([p, q]));

    const multiples = [N, 2n * N, N * (N - 1n)];
    for (const element of multiples) {
      expect(await codeOf(own.opening.open([element]))).toBe('DECRYPTION_FAILED');
      const opening = maskedOpeningOf(element, undefined);
      expect(await codeOf(decryption.open(keys.publicKey, [opening]))).toBe('DECRYPTION_FAILED');
      const parts = [ciphertextOf(element, 1n), ciphertextOf(1n, element)];
      for (const part of parts) {
        expect(await codeOf(decrypt(bcp, keys.secretKey, [part]))).toBe('DECRYPTION_FAILED');
      }
    }
    // None of them comes so far.
    const csp = await startCsp(await made, random, { allowDistance: true });
    const shape = shapeOf(schema, 4, [400_000n]);
    for (const element of [0n, ...multiples]) {
      const sums = [bytesFromInteger(element, 128)];
      expect(await codeOf(call.shareGram(csp.packed, { shape, sums }))).toBe('CIPHERTEXT_INVALID');
    }
    await csp.close();
  });
});

describe('the pair (1 + N, 1)', () => {
  const pairFor = (N: bigint): Ciphertext => ciphertextOf(1n + N, 1n);

  it('decrypts to the secret key modulo N; a gateway that is given it for its sums says nothing of it', async () => {
    const { bcp, keys, master, key } = await made;
    const { parameters } = master;
    const { modulus: N } = parameters;
    const pair = pairFor(N);
    // B·A^(-a) = (1 + N)^(-a) = 1 - aN: exact, and the key itself.
    const [message = 0n] = await decrypt(bcp, keys.secretKey, [pair]);
    expect(N - message).toBe(keys.secretKey.reveal() % N);

    const policy = parsePolicy(
      {
        window: WINDOW.length,
        baseline: 'fixed',
        thresholdScaled: 400_000n,
        higherThresholdsScaled: [4_000_000n],
        suite: 'packed',
        output: 'level',
      },
      schema,
      'a test',
    );
    const patient = parsePatientId('ward-3.bed-12', 'patient');
    const state = { patient, parameters, schema, policy } as unknown as GatewayState;
    /** What a gateway makes of sums. */
    const statistics = (sum: Ciphertext) => {
      const service = implement(StatisticsServiceService, {
        getStatistics: unary({ roles: ['gateway'] }, () =>
          Promise.resolve({
            model: 1,
            throughSequence: 4n,
            sums: [encodeCiphertext(sum, parameters)],
          }),
        ),
      });
      const connection = localConnection(() => service);
      return fetchStatistics(connection, state, keys.secretKey, engine);
    };
    // Control: of the sums over the window it makes their mean.
    const plan = packingPlanOf(schema, policy, parameters.bits);
    const samples = await encryptSamples(plan, key, WINDOW, random);
    const [sums] = await bcp.sums([samples.map((list) => elementAt(list, 0))]);
    expect((await statistics(sums ?? pair)).mean).toHaveLength(1);

    const refusals = await Promise.all(
      [pair, ciphertextOf((1n + N) ** 2n % (N * N), 1n), ciphertextOf(1n + N, 1n + N)].map(
        (chosen) => statistics(chosen).catch((error: unknown) => error),
      ),
    );
    for (const error of refusals) {
      expect(error).toMatchObject({ code: 'DECRYPTION_FAILED', message: 'decryption failed' });
    }
  });

  it('shows the key to a service provider that has it opened in the bcp03 family; in the residue family A is not used', async () => {
    const parties = await localParties(512, 'bcp03', engine, random);
    const { modulus: N } = parties.master.parameters;
    const open = async ({ decryption, keys }: Pick<typeof parties, 'decryption' | 'keys'>) =>
      elementAt(await decryption.open(keys.publicKey, [maskedOpeningOf(1n, 1n + N)]), 0);
    // Uniform in [1, N²/2]: the half of it.
    expect(N - (await open(parties))).toBe(parties.keys.secretKey.reveal() % N);
    const residue = await made;
    expect(residue.master.parameters.modulus).toBe(N);
    expect(await open(residue)).toBe(0n);
  });
});
