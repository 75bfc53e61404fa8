/**
 * Parameters and public keys that somebody made up: a modulus that falls to who knows how, a generator
 * that hides nothing, a public key of a wrong order. Each attack reads a message where nothing is checked.
 */
import { checkPrimeSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  Bcp,
  decrypt,
  encodeKey,
  encodeParameters,
  KeyedBcp,
  publicParameters,
  type GeneratorFamily,
} from '@duoveil/common/bcp';
import { parsePolicy } from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import { checkMasterKey, type MasterKey } from '@duoveil/common/master';
import { CrtOpening } from '@duoveil/common/paillier';
import { bitLength } from '@duoveil/common/integers';
import { uniformBits } from '@duoveil/common/random';
import {
  implement,
  parsePatientId,
  silentLogger,
  unary,
  type Connection,
} from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { ParametersServiceService } from '@duoveil/proto';
import { afterAll, describe, expect, it } from 'vitest';

import { loadMasterKey, storeMasterKey } from '../support/custody.js';
import { enrol } from '../../../gateway/src/enrol.js';
import { fetchParameters } from '../../../service-provider/src/csp/parameters.js';
import { localConnection } from '../../src/local/loopback.js';
import { packedKeys } from '../../src/local/packed.js';
import { SeededRandom } from '../../src/local/randomness.js';
import { schemaOfBits } from '../../src/local/schemas.js';
import { PUBLIC_TEST_PRIMES } from '../../src/local/test-primes.js';
import { call, codeOf, engine, startCsp } from './support.js';

const random = new SeededRandom('attacks/parameters');
const made = packedKeys(512, engine, random);
const directories: string[] = [];
afterAll(async () => {
  await Promise.all(directories.map((path) => rm(path, { recursive: true, force: true })));
  await engine.close();
});

const MESSAGE = 97n + ((97n ** 2n) << 99n);
const [P, Q] = PUBLIC_TEST_PRIMES[512];
const sealing = { kind: 'key', key: new Secret(new Uint8Array(32).fill(7)) } as const;

const power = async (base: bigint, exponent: bigint, modulus: bigint) =>
  elementAt(await engine.ring(modulus).powers([{ base: base % modulus, exponent }]), 0);

/** The first prime from a start on. */
function primeFrom(start: bigint, step: bigint): bigint {
  let candidate = start;
  while (!checkPrimeSync(candidate)) candidate += step;
  return candidate;
}

/** A master key of any numbers, of which nobody checked anything. */
async function keyOf(p: bigint, q: bigint, base = 3n): Promise<MasterKey> {
  const modulus = p * q;
  const generator = await power(base, 2n * modulus, modulus * modulus);
  return {
    parameters: publicParameters('residue', modulus, generator),
    factors: new Secret({ p, q }),
  };
}

/** A directory as `csp init` leaves it, but for what is in it. */
async function stateOf(key: MasterKey): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'duoveil-state-'));
  directories.push(directory);
  const { p, q } = key.factors.reveal();
  // Factors of other lengths have no room in the file: any two stand for them there.
  const fits = [p, q].every((factor) => bitLength(factor) <= 256);
  const factors = fits ? key.factors : new Secret({ p: P, q: Q });
  await storeMasterKey(directory, { ...key, factors }, sealing, random);
  return directory;
}

/** The `B` of a message under parameters, encrypted as gateways do. */
async function encrypted({ parameters }: MasterKey, h?: bigint): Promise<{ a: bigint; b: bigint }> {
  const bcp = new Bcp(parameters, engine);
  const secret = uniformBits(1000, random);
  const publicKey = h ?? (await power(parameters.generator, secret, parameters.modulusSquared));
  return elementAt(await new KeyedBcp(bcp, publicKey).encrypt([MESSAGE], random), 0);
}

const openWith = async (p: bigint, q: bigint, b: bigint) =>
  elementAt(await new CrtOpening(new Secret({ p, q }), engine).open([b]), 0);

function integerRoot(n: bigint): bigint {
  let root = 1n << BigInt(Math.ceil(bitLength(n) / 2));
  for (;;) {
    const next = (root + n / root) / 2n;
    if (next >= root) return root;
    root = next;
  }
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

/** Moduli that fall to who is not told the factors: each with how. */
const moduli: readonly {
  readonly name: string;
  readonly key: () => Promise<MasterKey>;
  readonly read: (modulus: bigint, b: bigint) => Promise<bigint>;
}[] = [
  {
    name: 'a prime, whose order is no secret',
    key: () => keyOf(primeFrom((1n << 511n) + 1n, 2n), 1n),
    read: async (N, b) => {
      const raised = ((await power(b, N - 1n, N * N)) - 1n) / N;
      return (raised * (N - 1n)) % N;
    },
  },
  {
    name: 'a square, whose root is not hard',
    key: () => keyOf(P, P),
    read: async (N, b) => {
      // L modulo N of b^(p(p-1)), which is 1 modulo N.
      const p = integerRoot(N);
      const order = p * (p - 1n);
      const raised = ((await power(b, order, N * N)) - 1n) / N;
      // The part of the message modulo p comes back.
      return ((raised / p) * (p - 1n)) % p;
    },
  },
  {
    name: 'with a small factor, found by trial',
    key: () => keyOf(65_537n, primeFrom((1n << 495n) + 1n, 2n)),
    read: async (N, b) => {
      let small = 3n;
      while (N % small !== 0n) small += 2n;
      return openWith(small, N / small, b);
    },
  },
  {
    name: 'with a smooth p - 1 instead of a safe prime, found by raising to it',
    key: () => {
      let product = 2n;
      for (let prime = 3n; bitLength(product) < 240; prime = primeFrom(prime + 2n, 2n)) {
        product *= prime;
      }
      const p = primeFrom(product * ((1n << 256n) / product - 8_000n) + 1n, product);
      return keyOf(p, Q);
    },
    read: async (N, b) => {
      // J. M. Pollard, Theorems on factorization and primality testing, 1974.
      let x = 2n;
      for (let k = 2n; k < 66_000n && gcd(x - 1n, N) === 1n; k += 200n) {
        let exponent = 1n;
        for (let i = k; i < k + 200n; i++) exponent *= i;
        x = await power(x, exponent, N);
      }
      const p = gcd(x - 1n, N);
      return openWith(p, N / p, b);
    },
  },
];

describe('a modulus that falls', () => {
  it.each(moduli)('$name: its messages are read; the CSP refuses to load it', async (bad) => {
    const key = await bad.key();
    const { b } = await encrypted(key);
    expect(await bad.read(key.parameters.modulus, b)).toBe(MESSAGE);
    expect(await codeOf(checkMasterKey(key, key.parameters.bits, engine))).toBe(
      'PARAMETERS_INVALID',
    );
    const state = await stateOf(key);
    expect(await codeOf(loadMasterKey(state, sealing, engine))).toBe('PARAMETERS_INVALID');
  });

  it('is not one of two safe primes, of which the same is loaded', async () => {
    const { master } = await made;
    const loaded = await loadMasterKey(await stateOf(master), sealing, engine);
    expect(loaded.parameters.digest).toBe(master.parameters.digest);
  });
});

describe('a generator that hides nothing', () => {
  const N = P * Q;
  const generators: readonly [name: string, family: GeneratorFamily, g: bigint][] = [
    ['1 + N, of order N', 'residue', 1n + N],
    ['1 + N, of order N', 'bcp03', 1n + N],
    ['1 + 5N', 'bcp03', 1n + 5n * N],
  ];

  it.each(generators)(
    '%s (%s): exponents and message are read; it is refused',
    async (_, family, g) => {
      const parameters = publicParameters(family, N, g);
      const key = { parameters, factors: new Secret({ p: P, q: Q }) };
      const { a, b } = await encrypted(key, await power(g, 12_345n, N * N));
      // g^r = 1 + rkN: a division is all it takes.
      const exponents = (a - 1n) / N;
      expect(((((b - 1n) / N - 12_345n * exponents) % N) + N) % N).toBe(MESSAGE);
      expect(await codeOf(loadMasterKey(await stateOf(key), sealing, engine))).toBe(
        'PARAMETERS_INVALID',
      );
    },
  );

  it('of order 2: every message is read; it is refused', async () => {
    const parameters = publicParameters('residue', N, N * N - 1n);
    const key = { parameters, factors: new Secret({ p: P, q: Q }) };
    const { b } = await encrypted(key, N * N - 1n);
    const one = b % N === 1n ? b : N * N - b;
    expect((one - 1n) / N).toBe(MESSAGE);
    expect(await codeOf(loadMasterKey(await stateOf(key), sealing, engine))).toBe(
      'PARAMETERS_INVALID',
    );
  });
});

describe('a state directory that was tampered with', () => {
  it('is refused where the parameters are others: by their digest, or because the key is not sealed for them', async () => {
    const { master } = await made;
    const state = await stateOf(master);
    const file = join(state, 'generation-0001.json');
    const document = JSON.parse(await readFile(file, 'utf8')) as {
      parameters: Record<string, string>;
    };
    const other = await keyOf(P, Q, 5n);
    const { generator } = encodeParameters(other.parameters);
    const attempt = async (change: Record<string, string>) => {
      await writeFile(
        file,
        JSON.stringify({ ...document, parameters: { ...document.parameters, ...change } }),
      );
      return codeOf(loadMasterKey(state, sealing, engine));
    };
    const swapped = { generator: Buffer.from(generator).toString('hex') };
    expect(await attempt(swapped)).toBe('PARAMETERS_INVALID');
    expect(await attempt({ ...swapped, digest: other.parameters.digest })).toBe('UNSEALING_FAILED');
    expect(await attempt({})).toBeUndefined();
  });
});

describe('parameters that are not the pinned ones', () => {
  const serving = ({ parameters }: MasterKey): Connection => {
    const service = implement(ParametersServiceService, {
      getParameters: unary({ roles: ['sp'] }, () =>
        Promise.resolve({ parameters: encodeParameters(parameters) }),
      ),
    });
    return localConnection(() => service);
  };

  it('though their factors are known to who offers them, are refused by service provider and gateway', async () => {
    const { master } = await made;
    const theirs = await keyOf(
      primeFrom((1n << 256n) - 1n, -2n),
      primeFrom((1n << 256n) - 100_001n, -2n),
    );
    const pinned = master.parameters.digest;
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-gateway-'));
    directories.push(directory);
    const schema = schemaOfBits(8);
    const enrolling = (connection: Connection, digest: typeof pinned) =>
      enrol({
        connection,
        patient: parsePatientId('bed-12', 'patient'),
        trustDomain: 'test.internal',
        directory,
        pinned: digest,
        schema,
        policy: parsePolicy(
          {
            window: 4,
            baseline: 'fixed',
            thresholdScaled: 400_000n,
            suite: 'packed',
            output: 'level',
          },
          schema,
          'a test',
        ),
        insecureKeyBits: true,
        sealingSecret: () => Promise.reject(new Error('a key would be made')),
        engine,
        random,
        logger: silentLogger(),
      });
    // Without the pin both take them, and who offered them opens all that follows.
    const taken = await fetchParameters(serving(theirs), theirs.parameters.digest, engine);
    const { p, q } = theirs.factors.reveal();
    expect(await openWith(p, q, (await encrypted({ ...theirs, parameters: taken })).b)).toBe(
      MESSAGE,
    );
    await expect(enrolling(serving(theirs), theirs.parameters.digest)).rejects.toThrow(
      'a key would be made',
    );
    expect(await codeOf(fetchParameters(serving(theirs), pinned, engine))).toBe(
      'PARAMETERS_MISMATCH',
    );
    expect(await codeOf(enrolling(serving(theirs), pinned))).toBe('PARAMETERS_MISMATCH');
    expect(await codeOf(fetchParameters(serving(master), pinned, engine))).toBeUndefined();
  });
});

describe('a public key of a wrong order', () => {
  it('shows messages where it is taken; is refused at registration, also with the best proof there is', async () => {
    const keys = await made;
    const { bcp, master } = keys;
    const { modulus: N, modulusSquared, generator } = master.parameters;
    const secret = 1_234_567n;
    const shifted = async (k: bigint) =>
      bcp.ring.multiply(await power(generator, secret, modulusSquared), 1n + k * N);

    // h = 1 and h = -1 hide nothing; h = 1 + N hides half of the bits, its exponents being short.
    const read = async (h: bigint) => (await encrypted(master, h)).b;
    expect(((await read(1n)) - 1n) / N).toBe(MESSAGE);
    const minus = await read(modulusSquared - 1n);
    expect(((minus % N === 1n ? minus : modulusSquared - minus) - 1n) / N).toBe(MESSAGE);
    const high = 300n;
    const large = MESSAGE << 150n;
    const [item] = await new KeyedBcp(bcp, 1n + N).encrypt([large], random);
    expect((((item?.b ?? 0n) - 1n) / N) >> high).toBe(large >> high);
    // h = g^a(1 + kN) shows its owner the randomness of whatever is encrypted for it.
    const h = await shifted(3n);
    const [answer] = await new KeyedBcp(bcp, h).encrypt([5n], random);
    const [opened = 0n] =
      answer === undefined ? [] : await decrypt(bcp, new Secret(secret), [answer]);
    expect(await power(generator, (opened - 5n) / 3n, modulusSquared)).toBe(answer?.a);

    const csp = await startCsp(keys, random);
    const patientId = 'ward-3.bed-12';
    for (const wrong of [1n, modulusSquared - 1n, 1n + N, await shifted(1n), h]) {
      // Proofs for the part whose logarithm is known, with the rest in the commitment or left out.
      for (const rest of [1n, 1n + N, 1n + 3n * N]) {
        const nonce = uniformBits(1400, random);
        const commitment = bcp.ring.multiply(await power(generator, nonce, modulusSquared), rest);
        const proof = { commitment, response: nonce + secret };
        const { publicKey, ...encoded } = encodeKey(wrong, proof, master.parameters);
        const code = await codeOf(
          call.registerKey(csp.keys, {
            patientId,
            parametersDigest: Buffer.from(master.parameters.digest, 'hex'),
            publicKey: { h: publicKey },
            proof: encoded,
          }),
        );
        expect(code).toBe('KEY_INVALID');
      }
    }
    await csp.close();
  });
});
