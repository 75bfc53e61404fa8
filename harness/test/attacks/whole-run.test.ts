/**
 * A whole session of level output, everything recorded that passes between the parties and that the
 * servers keep: what a wiretapper without TLS, a thief of the database or the disk, and each server
 * itself could read from it.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';

import { encodeKey, provePossession } from '@duoveil/common/bcp';
import { featureValues, packingPlanOf, parsePolicy, unpack } from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import { encodeFactors } from '@duoveil/common/master';
import { CrtOpening, type AdditiveCiphertext } from '@duoveil/common/paillier';
import { encryptSamples } from '@duoveil/common/protocols/packed';
import { bytesFromInteger, integerFromBytes } from '@duoveil/common/random';
import {
  createLogger,
  parsePatientId,
  systemClock,
  systemSleep,
  Turns,
} from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import {
  KeepCoefficientsRequest,
  InvertGramRequest,
  ScoreRequest,
  ScoreResponse,
  ShareGramRequest,
} from '@duoveil/proto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { alarmPolicy } from '../../../service-provider/src/alarms/policy.js';
import { loadMasterKey, storeMasterKey } from '../support/custody.js';
import { providerKey } from '../../../service-provider/src/csp/provider-key.js';
import { TransferSession } from '../../../service-provider/src/csp/transfer-session.js';
import { Monitors } from '../../../service-provider/src/monitor/monitors.js';
import { PackedSuite } from '../../../service-provider/src/monitor/packed-suite.js';
import { openStore } from '../../../service-provider/src/store/index.js';
import { localConnection, type WireCall } from '../../src/local/loopback.js';
import { packedKeys } from '../../src/local/packed.js';
import { SeededRandom } from '../../src/local/randomness.js';
import { schemaOfBits } from '../../src/local/schemas.js';
import { PUBLIC_PROVIDER_PRIMES } from '../../src/local/test-primes.js';
import { codeOf, engine, startCsp } from './support.js';

const random = new SeededRandom('attacks/whole run');
const made = packedKeys(512, engine, random);

const schema = schemaOfBits(16);
/** All of one length and without repetition of digits: what is found is found by no accident. */
const WINDOW = [31_415n, 31_427n, 31_389n, 31_406n, 31_433n];
const SAMPLES = [31_410n, 31_471n, 58_209n, 31_398n, 47_113n];
const LEVELS = [0, 1, 2, 0, 2];

/** What a session leaves behind. */
interface Recorded {
  readonly calls: readonly WireCall[];
  /** Samples as gateways send them. */
  readonly uploads: readonly Buffer[];
  readonly database: Buffer;
  readonly logs: string;
  readonly cspFiles: string;
  readonly levels: readonly (number | undefined)[];
  readonly directory: string;
}

async function record(): Promise<Recorded> {
  const keys = await made;
  const { bcp } = keys;
  const directory = await mkdtemp(join(tmpdir(), 'duoveil-whole-run-'));
  const csp = await startCsp(keys, random, { patient: { perMinute: 100, perDay: 100 } });
  const calls: WireCall[] = [];
  const connection = localConnection(
    () => csp.packed,
    (moment, wire) => {
      if (moment === 'after') calls.push(wire);
    },
  );
  let logs = '';
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      logs += chunk.toString('utf8');
      done();
    },
  });
  const stop = new AbortController();
  const provider = providerKey(keys.own, connection);
  const session = new TransferSession(connection, random);
  const file = join(directory, 'store.db');
  const store = await openStore({
    location: { kind: 'file', file },
    parameters: bcp.parameters,
    key: new Secret(random.bytes(32)),
    leaseMs: 60_000,
  });
  const id = parsePatientId('ward-3.bed-12', 'patient');
  const proof = await provePossession(bcp, keys.keys, id, random);
  const policy = parsePolicy(
    {
      window: WINDOW.length,
      baseline: 'fixed',
      thresholdScaled: 400_000n,
      higherThresholdsScaled: [40_000_000n],
      suite: 'packed',
      output: 'level',
    },
    schema,
    'a test',
  );
  const key = encodeKey(keys.keys.publicKey, proof, bcp.parameters);
  await store.patients.keep({ id, key, schema, policy }, systemClock.now());
  const lease = await store.leases.acquire(id, false);
  if (lease === undefined) throw new Error('somebody else has the patient');
  const plan = packingPlanOf(schema, policy, 512);
  const readings = [...WINDOW, ...SAMPLES].map((reading) => [reading]);
  const uploads: Buffer[] = [];
  for (const [i, ciphertexts] of (
    await encryptSamples(plan, keys.key, readings, random)
  ).entries()) {
    uploads.push(
      ...ciphertexts.flatMap(({ a, b }) => [a, b].map((half) => bytesFromInteger(half, 128))),
    );
    const sample = { sequence: i + 1, ciphertexts };
    await store.samples.append(lease, sample, random.bytes(32), systemClock.now());
  }
  const monitors = new Monitors({
    store,
    alarms: alarmPolicy(),
    suiteOf: (patient) =>
      new PackedSuite(
        {
          bcp,
          cspKey: keys.csp.key,
          csp: connection,
          provider,
          session,
          turns: new Turns(),
          random,
          stop: stop.signal,
        },
        patient,
      ),
    clock: systemClock,
    sleep: systemSleep,
    logger: createLogger({ service: 'sp', level: 'debug', stream }),
    leaseMs: 60_000,
    stop: stop.signal,
  });
  // The samples were taken under a lease of this process.
  await monitors.start();
  while ((await store.decisions.last(id)) < readings.length) {
    await systemSleep(20, new AbortController().signal);
  }
  stop.abort();
  // A monitor that waits for samples is woken by the signal.
  await monitors.stopped();
  const decisions = await store.decisions.list(id, WINDOW.length + 1, 100);
  await store.close();
  const names = (await readdir(directory)).filter((name) => name.startsWith('store.db'));
  const database = Buffer.concat(
    await Promise.all(names.map((name) => readFile(join(directory, name)))),
  );
  const cspFiles = (
    await Promise.all(
      (await readdir(csp.directory)).map((name) => readFile(join(csp.directory, name), 'utf8')),
    )
  ).join('\n');
  await csp.close();
  return {
    calls,
    uploads,
    database,
    logs,
    cspFiles,
    levels: decisions.map(({ outcome }) =>
      outcome.kind === 'scored' && outcome.statistic.kind === 'level'
        ? outcome.statistic.level
        : undefined,
    ),
    directory,
  };
}

let recorded: Recorded;
beforeAll(async () => {
  recorded = await record();
});
afterAll(async () => {
  await rm(recorded.directory, { recursive: true, force: true });
  await engine.close();
});

/** Everything, by where it was found. */
function everywhere({ calls, uploads, database, logs, cspFiles }: Recorded): Map<string, Buffer> {
  const places = new Map<string, Buffer>([
    ['database', database],
    ['logs', Buffer.from(logs)],
    ['files of the csp', Buffer.from(cspFiles)],
    ['uploads', Buffer.concat(uploads)],
  ]);
  for (const [i, { method, request, response }] of calls.entries()) {
    places.set(`${method} ${i}`, Buffer.concat([request, response ?? Buffer.alloc(0)]));
  }
  return places;
}

const sumOf = (values: readonly bigint[]) => values.reduce((sum, value) => sum + value, 0n);
const FEATURES = [...WINDOW, ...SAMPLES].map((reading) => reading * reading);
const SUMS = [sumOf(WINDOW), sumOf(WINDOW.map((reading) => reading * reading))];
/** `n·Σx² - (Σx)² + n(n-1)`: the determinant, and with it all distances. */
const DETERMINANT = 5n * (SUMS[1] ?? 0n) - (SUMS[0] ?? 0n) ** 2n + 20n;

/** Where any of the secrets stands: as decimal digits, and where it is long enough for that, as hexadecimal ones or bytes. */
function found(secrets: readonly bigint[], places: ReadonlyMap<string, Buffer>): string[] {
  const texts = secrets.map((secret) => new RegExp(`(?<![0-9A-Za-z+/])${secret}(?![0-9A-Za-z+/])`));
  const long = secrets.filter((secret) => secret >= 1n << 28n);
  return [...places].flatMap(([where, bytes]) => {
    const text = bytes.toString('latin1');
    const written = secrets.filter((_, i) => texts[i]?.test(text));
    const binary = long.filter((secret) => {
      const hex = secret.toString(16);
      const big = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
      const patterns = [big, Buffer.from(big).reverse()];
      return text.includes(hex) || patterns.some((pattern) => bytes.includes(pattern));
    });
    return [...written, ...binary].map((secret) => `${secret} in ${where}`);
  });
}

const SECRETS = [...WINDOW, ...SAMPLES, ...FEATURES, ...SUMS, DETERMINANT];

describe('all messages, rows, logs and files of a session', () => {
  it('come from a session that decided right', () => {
    expect(recorded.levels).toEqual(LEVELS);
    expect(new Set(recorded.calls.map(({ method }) => method))).toEqual(
      new Set([
        'shareGram',
        'invertGram',
        'registerKey',
        'registerProviderKey',
        'keepCoefficients',
        'loadModel',
        'offerTransfers',
        'chooseTransfers',
        'score',
        'compare',
      ]),
    );
  });

  it('hold no reading, feature, sum or determinant; what is planted is found, in every encoding', () => {
    const places = everywhere(recorded);
    expect(found(SECRETS, places)).toEqual([]);
    const [square = 0n] = FEATURES;
    const planted = [
      Buffer.from('{"value":31415}'),
      Buffer.from(`sum=${SUMS[0] ?? 0n} `),
      Buffer.from(`00${square.toString(16)}`),
      bytesFromInteger(square, 4),
      Buffer.from(bytesFromInteger(square, 4)).reverse(),
    ];
    for (const secret of planted) {
      const database = Buffer.concat([
        recorded.database.subarray(0, 5000),
        secret,
        recorded.database.subarray(5000),
      ]);
      expect(found(SECRETS, everywhere({ ...recorded, database }))).toHaveLength(1);
    }
  });

  it('hold no patient in what the CSP writes down as it goes', () => {
    // Control: the database, which is the service provider's, names the patient.
    expect(recorded.database.includes('ward-3.bed-12')).toBe(true);
    expect(recorded.cspFiles).toContain('"reserved"');
    expect(recorded.cspFiles).not.toContain('ward-3.bed-12');
  });
});

/** The elements of all requests that are encrypted to the CSP, and those of the uploads. */
function elementsToCsp({ calls, uploads }: Recorded): bigint[] {
  const elements = calls.flatMap(({ method, request }) => {
    switch (method) {
      case 'shareGram':
        return ShareGramRequest.decode(request).sums;
      case 'invertGram':
        return InvertGramRequest.decode(request).rows;
      case 'keepCoefficients':
        return KeepCoefficientsRequest.decode(request).coefficients;
      case 'score':
        return ScoreRequest.decode(request).sample;
      default:
        return [];
    }
  });
  return [...elements, ...uploads.filter((_, i) => i % 2 === 1)].map(integerFromBytes);
}

describe('what the CSP opens in a session', () => {
  it('holds no feature and no sum in any slot; without the masks every reading is there', async () => {
    const { csp } = await made;
    const requests = elementsToCsp({ ...recorded, uploads: [] });
    expect(requests.length).toBeGreaterThan(15);
    const width = packingWidth();
    const slots = async (elements: readonly bigint[]) =>
      (await csp.opening.open(elements)).flatMap((plaintext) => [
        plaintext,
        ...unpack(plaintext, width, 5),
      ]);
    const opened = new Set(await slots(requests));
    expect(SECRETS.filter((secret) => opened.has(secret))).toEqual([]);
    // Control: the uploads themselves, which the CSP never gets.
    const uploads = elementsToCsp({ ...recorded, calls: [] });
    const bare = new Set(await slots(uploads));
    for (const reading of [...WINDOW, ...SAMPLES]) {
      for (const value of featureValues([[0], [0, 0]], [reading])) expect(bare).toContain(value);
    }
  });
});

function packingWidth(): number {
  // 2b + ⌈log₂ n⌉ + κ + 1
  return 32 + 3 + 64 + 1;
}

describe('a wiretap of everything together with the whole database', () => {
  it('opens with the factors of N; without them no element is its message in the open, nor a guess confirmed', async () => {
    const { csp, master, key, bcp } = await made;
    const { modulus, generator } = master.parameters;
    const elements = elementsToCsp(recorded);
    // With the master key: readings, from the uploads alone.
    const opened = await csp.opening.open(elements);
    const [first = 0n] = WINDOW;
    const width = packingWidth();
    expect(opened.some((plaintext) => unpack(plaintext, width, 1)[0] === first)).toBe(true);

    // Without it: an encryption without randomness is 1 modulo N; one with a short one is a short power.
    const message = first + ((first * first) << BigInt(width));
    const openMessage = (element: bigint) =>
      element % modulus === 1n ? (element - 1n) / modulus : undefined;
    const table = new Set<bigint>();
    for (const base of [generator, key.publicKey]) {
      let power = 1n;
      for (let i = 0; i < 2000; i++) {
        table.add(power % modulus);
        power = (power * base) % modulus;
      }
    }
    // A guess would be confirmed where the rest is in the table; messages are 1 modulo N.
    const isConfirmed = (element: bigint) => table.has(element % modulus);
    const weak = csp.key.add(1n as AdditiveCiphertext, message);
    expect(openMessage(weak)).toBe(message);
    const [power = 1n] = await bcp.ring.powers([{ base: key.publicKey, exponent: 1234n }]);
    expect(isConfirmed(csp.key.add(power as AdditiveCiphertext, message))).toBe(true);
    expect(elements.filter((element) => openMessage(element) !== undefined)).toEqual([]);
    expect(elements.filter(isConfirmed)).toEqual([]);
    // No randomness comes twice: quotients would show differences of messages.
    const residues = elements.map((element) => element % modulus);
    expect(new Set(residues).size).toBe(elements.length);
  });

  it('does not open with factors that are made up: one wrong, or both; they open to nothing that was sent', async () => {
    const { master, own } = await made;
    const { p } = master.factors.reveal();
    const elements = elementsToCsp(recorded).slice(-2);
    const message = (plaintext: bigint) => unpack(plaintext, packingWidth(), 1)[0] ?? 0n;
    const right = new CrtOpening(master.factors, engine);
    for (const plaintext of await right.open(elements))
      expect(SECRETS).toContain(message(plaintext));
    const wrong = new CrtOpening(new Secret({ p, q: 2n ** 255n - 19n }), engine);
    expect(await codeOf(wrong.open(elements))).toBeUndefined();
    for (const opening of [wrong, own.opening]) {
      for (const plaintext of await opening.open(elements)) {
        expect(SECRETS).not.toContain(message(plaintext));
      }
    }
  });

  it('the answers open with the key that the service provider has in memory alone, which is in no row', async () => {
    const { own } = await made;
    const answers = recorded.calls
      .filter(({ method }) => method === 'score')
      .map(({ response }) =>
        integerFromBytes(ScoreResponse.decode(response ?? Buffer.alloc(0)).answer),
      );
    expect(answers).toHaveLength(SAMPLES.length);
    const opened = await own.opening.open(answers);
    expect(new Set(opened).size).toBe(answers.length);
    expect(SECRETS.filter((secret) => opened.includes(secret))).toEqual([]);
    const places = everywhere(recorded);
    const { modulus } = own.key;
    // Control: the modulus went over the wire when the key was registered.
    expect(found([modulus], places)).not.toEqual([]);
    expect(found([...PUBLIC_PROVIDER_PRIMES[512]], places)).toEqual([]);
  });
});

describe("a thief of the CSP's disk", () => {
  it('with the passphrase opens everything, as with a key that was not sealed; without it nothing', async () => {
    const { master } = await made;
    const state = await mkdtemp(join(tmpdir(), 'duoveil-disk-'));
    const secretOf = (passphrase: string) =>
      ({ kind: 'passphrase', passphrase: new Secret(passphrase) }) as const;
    await storeMasterKey(state, master, secretOf('correct horse battery staple'), random);
    const elements = elementsToCsp(recorded).slice(-1);
    const read = async (factors: typeof master.factors) =>
      unpack(elementAt(await new CrtOpening(factors, engine).open(elements), 0), packingWidth(), 1);
    const last = SAMPLES.at(-1) ?? 0n;
    const loaded = await loadMasterKey(state, secretOf('correct horse battery staple'), engine);
    expect(await read(loaded.factors)).toEqual([last]);
    for (const guess of ['', 'correct horse battery stapl', 'Correct horse battery staple']) {
      expect(await codeOf(loadMasterKey(state, secretOf(guess), engine))).toBe('UNSEALING_FAILED');
    }
    // The files do not hold a factor, in any encoding. Control: a key in the clear is found, and opens.
    const { p, q } = master.factors.reveal();
    const files = async () =>
      new Map(
        await Promise.all(
          (await readdir(state)).map(
            async (name) => [name, await readFile(join(state, name))] as const,
          ),
        ),
      );
    const disk = await files();
    expect(found([p, q], disk)).toEqual([]);
    const { sealedKey } = JSON.parse(String(disk.get('generation-0001.json'))) as {
      sealedKey: Record<string, unknown>;
    };
    const raw = Object.values(sealedKey)
      .filter((value) => typeof value === 'string')
      .map((value) => Buffer.from(value, 'base64'));
    expect(found([p, q], new Map(raw.map((bytes, i) => [String(i), bytes])))).toEqual([]);
    await writeFile(join(state, 'master-key.bin'), encodeFactors(master));
    expect(found([p, q], await files())).toHaveLength(2);
    expect(await read(new Secret({ p, q }))).toEqual([last]);
    await rm(state, { recursive: true, force: true });
  });
});
