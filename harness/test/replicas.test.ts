/**
 * Service providers that share a PostgreSQL: one watches a patient, and another when that one does not.
 * CSPs with the same keys: one is asked, and another when that one does not answer.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { join } from 'node:path';

import { parsePolicy, scaledThreshold, selectChannels } from '@duoveil/common/encoding';
import { parseAddress } from '@duoveil/common/runtime';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';

import { Balancer } from '../src/faults/balancer.js';
import { CspProxy } from '../src/faults/csp-proxy.js';
import { replay } from '../src/oracle/index.js';
import { Postgres } from '../src/parties/postgres.js';
import { Supervised } from '../src/parties/supervised.js';
import { simulate, toCsv } from '../src/simulation/index.js';
import { POSTGRES_AVAILABLE, POSTGRES_NAME } from './support/databases.js';
import { Deployment, identity, PATIENT } from './support/deployment.js';
import { PACKED, readResults } from './support/duoveil.js';
import { HandMadeGateway, policyOf, SCHEMA } from './support/hand-made.js';
import { expectRows } from './support/recordings.js';
import { newKeyFile } from './support/sealing.js';
import { expectEvents, samples } from './support/series.js';
import { Ward } from './support/ward.js';

const require = createRequire(import.meta.url);
const programme = require.resolve('@duoveil/gateway/main');

/** A patient whose service provider is gone is taken over quickly. */
const SHORT_LEASE_MS = 800;

describe.skipIf(!POSTGRES_AVAILABLE)(`replicas on ${POSTGRES_NAME}`, () => {
  let postgres: Postgres;
  let databaseUrl: string;
  let deployment: Deployment;
  beforeAll(async () => {
    postgres = await Postgres.start();
  });
  afterAll(() => postgres.stop());
  afterEach(() => deployment.close());

  /** @param leaseMs the default unless given: a shorter one makes for a quicker test */
  async function prepare(leaseMs?: number): Promise<void> {
    databaseUrl = await postgres.createDatabase();
    const environment = leaseMs === undefined ? {} : { DUOVEIL_LEASE_MS: String(leaseMs) };
    deployment = await Deployment.prepare({ databaseUrl, environment });
    await deployment.servers.startCsp();
  }

  /** How many rows a table has, and the highest of their numbers. */
  async function counted(table: 'samples' | 'decisions'): Promise<unknown> {
    const [row] = await postgres.query(
      `select count(*)::int as count, max(sequence)::int as last from ${table}`,
      databaseUrl,
    );
    return row;
  }

  /** Streams a recording; does things when so many rows were told. Every row is right, and once. */
  async function stream(
    balancer: Balancer,
    events: ReadonlyMap<number, () => unknown>,
  ): Promise<void> {
    const { servers, directory } = deployment;
    const channels = ['HR', 'RESP', 'SpO2'];
    const recording = simulate({ seed: 5, rows: 36, scenario: 'deterioration', channels });
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
    const gateway = new Supervised('gateway', () => ({
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

  test('any server that is killed under load costs no sample: another one goes on', async () => {
    await prepare();
    const { servers } = deployment;
    const csp = await servers.startCspReplica();
    const csps = `${servers.cspAddress},${csp.address}`;
    await servers.startSp(csps);
    const sp = await servers.startReplica(csps);
    const balancer = await Balancer.start();
    balancer.direct(servers.address, sp.address);
    const ward = await Ward.start(deployment, balancer.address, 3);
    await ward.scored();
    const said: string[] = [];
    for (const [name, party, address, next] of [
      ['the CSP', servers.csp, servers.cspAddress, csp.state],
      // It is asked by now, and the first one is back.
      ['the other CSP', csp.party, csp.address, servers.cspState],
      ['the SP', servers.sp, servers.address],
      ['the other SP', sp.party, sp.address],
    ] as const) {
      const before = next && (await distancesTold(next));
      ward.measure();
      party.kill();
      await ward.goOn();
      if (next !== undefined) expect(await distancesTold(next)).toBeGreaterThan(Number(before));
      await listening(address);
      said.push(`${name} ${(ward.longestMs / 1000).toFixed(1)} s`);
    }
    process.stdout.write(`\nlongest wait for a decision when killed: ${said.join(', ')}\n`);

    const { wrong, decided } = await ward.stop();
    await balancer.stop();
    expect(wrong).toEqual([]);
    const all = expect.objectContaining({ count: decided }) as unknown;
    expect(await counted('decisions')).toEqual(all);
    expect(await counted('samples')).toEqual(all);
    // Each SP has had the patients.
    const [lease] = await postgres.query(
      'select max(epoch)::int as epoch from leases',
      databaseUrl,
    );
    expect(lease?.['epoch']).toBeGreaterThanOrEqual(3);
  });

  test('connections to the database that are cut, and a database that is away, are survived', async () => {
    await prepare(SHORT_LEASE_MS);
    await deployment.servers.startSp();
    const replica = await deployment.servers.startReplica();
    const balancer = await Balancer.start();
    balancer.direct(deployment.servers.address, replica.address);
    let away: Promise<void> = Promise.resolve();
    const cut = (): void => void postgres.cut();
    await stream(
      balancer,
      new Map([
        [12, cut],
        [20, cut],
        [26, () => (away = postgres.halt().then(() => postgres.resume()))],
      ]),
    );
    await away;
    await balancer.stop();
  });

  test('one that was stalled is refused when it writes at last', async () => {
    await prepare(SHORT_LEASE_MS);
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

/** How many distances a CSP has given away, by its audit log. */
async function distancesTold(cspState: string): Promise<number> {
  const lines = await readFile(join(cspState, 'audit.log'), 'utf8');
  return lines.split('\n').filter((line) => line.includes('"distance"')).length;
}

/** Waits until somebody takes connections there. */
async function listening(address: string): Promise<void> {
  const { host, port } = parseAddress(address, 'a server');
  await vi.waitUntil(
    async () => {
      const socket = connect(port, host);
      const answer = await Promise.race([
        once(socket, 'connect').then(() => true),
        once(socket, 'error').then(() => false),
      ]).catch(() => false);
      socket.destroy();
      return answer;
    },
    { timeout: 60_000, interval: 50 },
  );
}
