import { Bcp, decodeOpenings, GENERATOR_FAMILIES } from '@duoveil/common/bcp';
import type { GeneratorFamily } from '@duoveil/common/bcp';
import { scaleOf } from '@duoveil/common/encoding';
import { MasterDecryption } from '@duoveil/common/master';
import { systemRandom, uniformBelow } from '@duoveil/common/random';
import {
  connect,
  createAuthority,
  implement,
  issueCertificate,
  silentLogger,
  startServer,
  tlsFromCredentials,
  unary,
} from '@duoveil/common/runtime';
import type { Connection, RunningServer, Service } from '@duoveil/common/runtime';
import { BlindedArithmeticServiceService, KeyServiceService } from '@duoveil/proto';
import type { MaskedOpening } from '@duoveil/proto';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';

import type { Discipline } from '../../../csp/src/audit/discipline.js';
import { arithmeticService } from '../../../csp/src/handlers/arithmetic.js';
import { keyService } from '../../../csp/src/handlers/keys.js';
import { PatientKeys } from '../../../csp/src/keys/patient-keys.js';
import { testEngine } from '../../../harness/src/local/engine.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { setUpForTests } from '../../../harness/src/local/parties.js';
import { schemaOfBits } from '../../../harness/src/local/schemas.js';
import { scoreExact, trainExact } from '../../../harness/src/oracle/index.js';
import type * as calls from '../csp/calls.js';
import { policyOf, SCHEMA, testPatient } from '../fixture.js';
import { ReferenceSuite } from './reference-suite.js';

const engine = testEngine();
afterAll(() => engine.close());

const now = new Date();
const authority = await createAuthority({ commonName: 'test authority', days: 2, now });

let server: RunningServer | undefined;
let connection: Connection | undefined;
afterEach(async () => {
  connection?.close();
  await server?.drain(0);
  [server, connection] = [undefined, undefined];
});

async function tls(role: 'csp' | 'sp') {
  const identity = { trustDomain: 'test.internal', role } as const;
  const credentials = await issueCertificate(authority, {
    identity,
    hosts: ['127.0.0.1'],
    days: 1,
    now,
  });
  return tlsFromCredentials(credentials);
}

/** Allows everything. */
const discipline = {
  answer: (...[, , , , answer]: Parameters<Discipline['answer']>) => answer(),
} as unknown as Discipline;

/** A CSP over the public test primes. */
async function parties(family: GeneratorFamily) {
  const master = await setUpForTests(512, family, engine, new SeededRandom('parties'));
  const bcp = new Bcp(master.parameters, engine);
  const decryption = await MasterDecryption.create(master, engine);
  const keys = new PatientKeys(bcp);
  const services = [
    keyService(bcp, keys),
    arithmeticService({ bcp, keys, decryption, random: systemRandom, discipline }),
  ];
  return { bcp, decryption, services };
}

/** A connection to a server of these services. */
async function client(services: readonly Service[]): Promise<Connection> {
  server = await startServer({
    listen: '127.0.0.1:0',
    tls: await tls('csp'),
    services,
    logger: silentLogger(),
  });
  connection = connect({ address: server.address, tls: await tls('sp'), expectRole: 'csp' });
  return connection;
}

/** Nobody stops these. */
const unstopped = new AbortController().signal;

// A deadline that passes while one waits for it.
vi.mock('../csp/calls.js', async (original) => ({
  ...(await original<typeof calls>()),
  callOptions: (signal: AbortSignal) => ({ deadlineMs: 2_000, signal }),
}));

describe('the reference suite, with a CSP over the network', () => {
  it.each(
    [1, 2, 3, 5, 8].flatMap((channels) =>
      GENERATOR_FAMILIES.filter((family) => channels < 4 || family === 'residue').map((family) => ({
        channels,
        family,
      })),
    ),
  )('gives the exact distances: $channels channels, $family', async ({ channels, family }) => {
    const { bcp, services } = await parties(family);
    // Channels of 8 bits leave room for eight of them in a short modulus.
    const schema = schemaOfBits(...Array<number>(channels).fill(8));
    const policy = policyOf(schema);
    const { patient, encrypt } = await testPatient(bcp, schema, policy);
    const csp = await client(services);
    const suite = new ReferenceSuite(bcp, patient, csp, systemRandom, unstopped);
    const random = new SeededRandom(`${channels} ${family}`);
    const draw = (): bigint[] => schema.channels.map(() => uniformBelow(256n, random));
    const stored = async (sequence: number, values: readonly bigint[]) => ({
      sequence,
      ciphertexts: await encrypt(values),
    });

    const window = Array.from({ length: policy.window }, draw);
    const samples = await Promise.all(window.map((values, i) => stored(i + 1, values)));
    const content = await suite.train(samples);
    const model = { number: 1, throughSequence: policy.window, content, trainMs: 0 };
    const exact = trainExact(
      window,
      schema.channels.map((channel) => scaleOf(channel).F),
    );
    for (const values of [draw(), schema.channels.map(() => 255n)]) {
      expect(await suite.score(model, await stored(99, values))).toEqual({
        kind: 'distance',
        distance: scoreExact(exact, values),
      });
    }
    expect(
      await suite.score(
        model,
        await stored(
          100,
          schema.channels.map(() => 3n ** 300n),
        ),
      ),
    ).toBe(undefined);
  });

  it('asks again, masked afresh, where an answer does not come in time', async () => {
    const { bcp, decryption, services } = await parties('residue');
    const { patient, encrypt } = await testPatient(bcp);
    const seen: MaskedOpening[][] = [];
    const [registration = missing(), honest = missing()] = services;
    const open = honest.methods['open'];
    if (open?.kind !== 'unary') throw new Error('it is one');
    const silent: Service = {
      definition: honest.definition,
      methods: {
        ...honest.methods,
        open: unary<unknown, unknown>({ roles: ['sp'] }, (request, context) => {
          seen.push((request as { values: MaskedOpening[] }).values);
          return seen.length < 3 ? new Promise(() => undefined) : open.handle(request, context);
        }),
      },
    };
    const csp = await client([registration, silent]);
    const suite = new ReferenceSuite(bcp, patient, csp, systemRandom, unstopped);
    const window = [
      [600n, 660n],
      [601n, 661n],
      [603n, 660n],
      [602n, 662n],
    ];
    const stored = async (values: readonly bigint[]) => ({
      sequence: 1,
      ciphertexts: await encrypt(values),
    });
    const samples = await Promise.all(window.map(stored));
    const model = {
      number: 1,
      throughSequence: 4,
      content: await suite.train(samples),
      trainMs: 0,
    };
    const exact = trainExact(
      window,
      SCHEMA.channels.map((channel) => scaleOf(channel).F),
    );
    expect(await suite.score(model, await stored([610n, 655n]))).toEqual({
      kind: 'distance',
      distance: scoreExact(exact, [610n, 655n]),
    });
    expect(seen.length).toBeGreaterThanOrEqual(3);
    const openings = await decodeOpenings(seen.flat(), 'seen', bcp.parameters, engine);
    expect(new Set(await decryption.open(1n, openings)).size).toBe(openings.length);
  });

  it('gives up the step where the CSP is asked to stop waiting', async () => {
    const { bcp } = await parties('residue');
    const { patient, encrypt } = await testPatient(bcp);
    const stop = new AbortController();
    const hang = (): Promise<never> => {
      stop.abort(new Error('enough'));
      return new Promise<never>(() => undefined);
    };
    const options = { roles: ['sp'] } as const;
    const csp = await client([
      implement(KeyServiceService, { registerKey: unary(options, hang) }),
      implement(BlindedArithmeticServiceService, {
        subtract: unary(options, hang),
        multiply: unary(options, hang),
        divide: unary(options, hang),
        invertMatrix: unary(options, hang),
        open: unary(options, hang),
      }),
    ]);
    const suite = new ReferenceSuite(bcp, patient, csp, systemRandom, stop.signal);
    const samples = [{ sequence: 1, ciphertexts: await encrypt([1n, 2n]) }];
    await expect(suite.train([...samples, ...samples])).rejects.toThrow('enough');
  });
});

function missing(): never {
  throw new Error('it is there');
}
