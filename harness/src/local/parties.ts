import { Bcp, generateKeyPair, KeyedBcp } from '@duoveil/common/bcp';
import type { GeneratorFamily, KeyPair } from '@duoveil/common/bcp';
import { MasterDecryption, setUp, type MasterKey } from '@duoveil/common/master';
import type { ModularEngine } from '@duoveil/common/modular';
import type { RandomSource } from '@duoveil/common/random';

import { PUBLIC_TEST_PRIMES, type TestModulusBits } from './test-primes.js';

/** Everything that one patient's protocols need, of all parties, in one process. */
export interface LocalParties {
  readonly master: MasterKey;
  readonly decryption: MasterDecryption;
  readonly bcp: Bcp;
  readonly keys: KeyPair;
  readonly key: KeyedBcp;
}

/** Set up over the public test primes: fast, reproducible, protecting nothing. */
export async function setUpForTests(
  bits: TestModulusBits,
  family: GeneratorFamily,
  engine: ModularEngine,
  random: RandomSource,
): Promise<MasterKey> {
  const primes = [...PUBLIC_TEST_PRIMES[bits]];
  return setUp({ bits, family }, engine, random, () => {
    const prime = primes.pop();
    return prime === undefined
      ? Promise.reject(new Error('the test primes are used up'))
      : Promise.resolve(prime);
  });
}

/** All parties of one patient over the public test primes. */
export async function localParties(
  bits: TestModulusBits,
  family: GeneratorFamily,
  engine: ModularEngine,
  random: RandomSource,
): Promise<LocalParties> {
  const master = await setUpForTests(bits, family, engine, random);
  const bcp = new Bcp(master.parameters, engine);
  const keys = await generateKeyPair(bcp, random);
  return {
    master,
    decryption: await MasterDecryption.create(master, engine),
    bcp,
    keys,
    key: new KeyedBcp(bcp, keys.publicKey),
  };
}
