/** Service providers that share a PostgreSQL: one watches a patient, and another when that one does not. */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { parsePolicy, scaledThreshold, selectChannels } from '@duoveil/common/encoding';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { Balancer } from '../src/faults/balancer.js';
import { CspProxy } from '../src/faults/csp-proxy.js';
import { replay } from '../src/oracle/index.js';
import { Postgres } from '../src/parties/postgres.js';
import type { Replica } from '../src/parties/servers.js';
import { Supervised } from '../src/parties/supervised.js';
import { simulate, toCsv } from '../src/simulation/index.js';
import { POSTGRES_AVAILABLE, POSTGRES_NAME } from './support/databases.js';
import { Deployment, identity, PATIENT } from './support/deployment.js';
import { PACKED, readResults } from './support/duoveil.js';
import { HandMadeGateway, policyOf, SCHEMA } from './support/hand-made.js';
import { expectRows } from './support/recordings.js';
import { newKeyFile } from './support/sealing.js';
import { expectEvents, samples } from './support/series.js';

const require = createRequire(import.meta.url);
const programme = require.resolve('@duoveil/gateway/main');

describe.skipIf(!POSTGRES_AVAILABLE)(`replicas on ${POSTGRES_NAME}`, () => {
  let postgres: Postgres;
  let databaseUrl: string;
  let deployment: Deployment;
  beforeAll(async () => {
    postgres = await Postgres.start();
  });
  afterAll(() => postgres.stop());
  beforeEach(async () => {
    databaseUrl = await postgres.createDatabase();
    deployment = await Deployment.prepare({ databaseUrl });
    await deployment.servers.startCsp();
  });
  afterEach(() => deployment.close());

  /** How many rows a table has, and the highest of their numbers. */
  async function counted(table: 'samples' | 'decisions'): Promise<unknown> {
    const [row] = await postgres.query(
      `select count(*)::int as count, max(sequence)::int as last from ${table}`,
      databaseUrl,
    );
    return row;
  }

  describe('behind a balancer', () => {
    let balancer: Balancer;
    let replica: Replica;
    let gateway: Supervised | undefined;
    beforeEach(async () => {
      const { servers } = deployment;
      await servers.startSp();
      replica = await servers.startReplica();
      balancer = await Balancer.start();
      balancer.direct(servers.address, replica.address);
    });
    afterEach(async () => {
      await gateway?.stop();
      await balancer.stop();
    });

    /** Streams a recording; does things when so many rows were told. Every row is right, and once. */
    async function stream(events: ReadonlyMap<number, () => unknown>): Promise<void> {
      const { servers, directory } = deployment;
      const channels = ['HR', 'RESP', 'SpO2'];
      const recording = simulate({ seed: 5, rows: 48, scenario: 'deterioration', channels });
      const input = join(directory, 'simulated.csv');
      writeFileSync(input, toCsv(recording));
      const tls = await servers.issueGateway(PATIENT);
      const state = join(directory, 'gateway');
      const connection = [
        ...['--sp', balancer.address, '--tls', tls],
        ...['--state', state, ...newKeyFile(directory)],
      ];
      const enrolment = new Supervised('gateway', () => ({
        programme,
        arguments: [
          ...['enrol', ...connection, '--parameters-digest', servers.digest],
          ...['--insecure-key-bits', '--channels', channels.join(), '--window', '8'],
          ...['--baseline', 'rolling', '--retrain-every', '4', ...PACKED],
        ],
      }));
      await enrolment.finished;
      const output: string[] = [];
      gateway = new Supervised('gateway', () => ({
        programme,
        arguments: ['stream', ...connection, '--input', input, '--json'],
        onOutput: (line) => {
          output.push(line);
          events.get(output.length)?.();
        },
      }));
      await gateway.finished;

      const schema = selectChannels(channels);
      const policy = parsePolicy(
        {
          window: 8,
          baseline: 'rolling',
          retrainEvery: 4,
          thresholdScaled: scaledThreshold(0.975, channels.length),
          suite: 'reference',
          output: 'distance',
        },
        schema,
        'the test',
      );
      const expected = replay(recording.rows, schema, policy);
      expectRows(
        readResults(output).rows,
        expected.map((row) => ('skipped' in row ? { index: row.index, skipped: true } : row)),
      );
      const complete = expected.filter((row) => !('skipped' in row)).length;
      const all = { count: complete, last: complete };
      expect({ samples: await counted('samples'), decisions: await counted('decisions') }).toEqual({
        samples: all,
        decisions: all,
      });
    }

    test('one that is killed under load loses nothing: the other one goes on', async () => {
      const { sp } = deployment.servers;
      await stream(
        new Map([
          [14, kill(sp)],
          // By now it is with the other one, and the first one is back.
          [32, kill(replica.party)],
        ]),
      );
      // Each of them has had the patient.
      const [lease] = await postgres.query('select epoch::int as epoch from leases', databaseUrl);
      expect(lease?.['epoch']).toBeGreaterThanOrEqual(3);
    });

    test('connections to the database that are cut, and a database that is away, are survived', async () => {
      let restarted: Promise<void> = Promise.resolve();
      await stream(
        new Map([
          [12, () => void postgres.cut()],
          [25, () => void postgres.cut()],
          [
            34,
            () => {
              restarted = postgres.halt().then(() => postgres.resume());
            },
          ],
        ]),
      );
      await restarted;
    });
  });

  test('one that was stalled is refused when it writes at last', async () => {
    const { servers } = deployment;
    const proxy = new CspProxy({
      address: servers.cspAddress,
      asCsp: await deployment.tls(identity('csp')),
      asSp: await deployment.tls(identity('sp')),
    });
    await proxy.start();
    // The first one's calls to the CSP can be held; the other one's go straight there.
    await servers.startSp(proxy.address);
    const replica = await servers.startReplica();
    const tls = await deployment.tls(identity('gateway'));
    const first = await HandMadeGateway.create(
      deployment.connectWith('sp', servers.address, tls),
      await deployment.bcp(),
      PATIENT,
    );
    const second = first.via(deployment.connectWith('sp', replica.address, tls));
    const policy = policyOf(SCHEMA, { window: 5 });
    await first.enrol(first.enrolment(SCHEMA, policy));
    const rows = samples(14);

    // Whoever watches at one is told what the other decides.
    const told = second.watch(8);
    const { stream } = await first.open();
    const send = async (sequence: number): Promise<void> => {
      await stream.sendSample(await first.sample(sequence, rows[sequence - 1]?.values ?? []));
    };
    for (let sequence = 1; sequence <= 8; sequence += 1) {
      await send(sequence);
      await stream.next();
    }
    expectEvents(await told, rows.slice(0, 8), SCHEMA, policy);

    // It is stopped in the middle of a score, and does not know that time goes by.
    let letGo = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const reached = new Promise<void>((resolve) => {
      proxy.meddle = async (call) => {
        if (call.method === 'Open') {
          resolve();
          await held;
        }
        return call.pass();
      };
    });
    await send(9);
    await stream.next();
    await reached;
    servers.sp.signal('SIGSTOP');

    await second.deliver(rows.slice(9).map(({ values }) => values));
    expectEvents(await second.watch(rows.length), rows, SCHEMA, policy);
    letGo();
    servers.sp.signal('SIGCONT');
    await deployment.logged(/another service provider has taken the patient over/);
    await send(10);
    await expect(stream.next()).rejects.toMatchObject({ code: 'PATIENT_ELSEWHERE' });
    expect(await counted('decisions')).toEqual({ count: rows.length, last: rows.length });
    // What it tells from now on is what the other one has decided.
    expectEvents(await first.watch(rows.length), rows, SCHEMA, policy);
    await proxy.stop();
  });
});

function kill(party: Supervised): () => void {
  return () => {
    party.kill();
  };
}
