/** What a CSP holds in memory does not come out of it by any way of printing, copying or serialising. */
import { Writable } from 'node:stream';
import { inspect } from 'node:util';
import { serialize } from 'node:v8';

import { MasterDecryption } from '@duoveil/common/master';
import { AdditiveKey, CrtOpening } from '@duoveil/common/paillier';
import { createPortableEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { createLogger } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { describe, expect, it } from 'vitest';

import { setUpForTests } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { longInteger, plainText, search } from '../../../harness/test/support/leaks.js';
import { deriveKeys } from './derived-keys.js';
import { sealGeneration } from './generations.js';
import { makeLocks } from './locks.js';
import { ServedGenerations } from './unsealed.js';
import { Vault } from './vault.js';

const engine = createPortableEngine({ threads: 0 });
const master = await setUpForTests(512, 'bcp03', engine, new SeededRandom('secrecy'));
const { p, q } = master.factors.reveal();

const secret = { kind: 'passphrase', passphrase: new Secret('correct horse battery') } as const;
const request = { secrets: [secret], sharing: { threshold: 2, count: 3 } };
const { key, locks, shares } = await makeLocks('00'.repeat(16), request, systemRandom);
const derived = deriveKeys(master);

const hex = (bytes: Secret<Uint8Array>): bigint =>
  BigInt(`0x1${Buffer.from(bytes.reveal()).toString('hex')}`);
const secrets = [
  longInteger('p', p),
  longInteger('q', q),
  longInteger('p²', p * p),
  longInteger('the custody key', hex(key)),
  longInteger('the sealing key', hex(derived.sealing)),
  ...shares.map(({ value }, i) => longInteger(`share ${String(i)}`, hex(value))),
  plainText('the passphrase', 'correct horse battery'),
];

const generation = await sealGeneration(1, master, key, systemRandom, new Date());
const opened = { generation, key: master };
const served = await ServedGenerations.create(key, [opened], () =>
  Promise.resolve({ services: [], wipe: () => undefined }),
);
const vault = new Vault<ServedGenerations>();
vault.open(served);

/** Everything that has a secret in it, or leads to one. */
const holders: Readonly<Record<string, unknown>> = {
  'a master key': master,
  'an opened generation': opened,
  'its factors': master.factors,
  'master decryption': await MasterDecryption.create(master, engine),
  'an additive key pair': {
    key: new AdditiveKey(master.parameters, engine),
    opening: new CrtOpening(master.factors, engine),
  },
  'derived keys': derived,
  'a custody key': key,
  'locks and shares': { locks, shares, secret },
  'served generations': served,
  'a vault': vault,
};

/** Lines that a logger writes at its most talkative. */
function logged(value: unknown): string {
  const lines: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(chunk.toString());
      done();
    },
  });
  const logger = createLogger({ service: 'test', level: 'debug', stream });
  logger.debug('value', { value: value as string });
  logger.error('failed', { error: new Error(`failed with ${String(value)}`, { cause: value }) });
  return lines.join('');
}

const quietly = (show: () => string | Buffer): string | Buffer => {
  try {
    return show();
  } catch (error) {
    return inspect(error, { depth: null });
  }
};

const bigintsToo = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? value.toString() : value;

const ways: Readonly<Record<string, (value: unknown) => string | Buffer>> = {
  inspect: (value) => inspect(value, { depth: null }),
  'inspect, everything': (value) =>
    inspect(value, { depth: null, showHidden: true, customInspect: false }),
  JSON: (value) => JSON.stringify(value, bigintsToo),
  template: (value) => `it is ${value as string}`,
  structuredClone: (value) => inspect(structuredClone(value), { depth: null, showHidden: true }),
  'v8.serialize': (value) => serialize(value),
  spread: (value) => inspect({ ...(value as object) }, { depth: null }),
  'an error': (value) => inspect(new Error(String(value), { cause: value }), { depth: null }),
  'a log': logged,
};

describe.each(Object.entries(ways))('through %s', (_, show) => {
  it.each(Object.entries(holders))('%s shows no secret', (name, holder) => {
    const content = Buffer.from(quietly(() => show(holder)));
    expect(search(secrets, [{ name, content }])).toEqual([]);
  });

  it('secrets that are not kept as such are found', () => {
    const passphrase = secret.passphrase.reveal();
    class Careless {
      readonly p = p;
      readonly passphrase = passphrase;
      toString(): string {
        return passphrase;
      }
    }
    const content = Buffer.from(quietly(() => show(new Careless())));
    expect(search(secrets, [{ name: 'it', content }])).not.toEqual([]);
  });
});

it('a diagnostic report has none of them', () => {
  const content = Buffer.from(JSON.stringify(process.report.getReport()));
  expect(search(secrets, [{ name: 'the report', content }])).toEqual([]);
});
