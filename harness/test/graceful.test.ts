/** Servers that are asked to stop while they are busy, and come back. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';

import { systemRandom } from '@duoveil/common/random';
import { silentLogger } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { runUplink, Spool } from '@duoveil/gateway/parts';
import { IngestRequest } from '@duoveil/proto';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { CspProxy, PassingCall } from '../src/faults/csp-proxy.js';
import { Deployment, identity, PATIENT } from './support/deployment.js';
import { HandMadeGateway, policyOf, SCHEMA } from './support/hand-made.js';
import { expectEvents, samples } from './support/series.js';

let deployment: Deployment;
let proxy: CspProxy;

beforeAll(async () => {
  deployment = await Deployment.prepare();
  proxy = await deployment.startCspBehindProxy();
  await deployment.servers.startSp(proxy.address);
});
afterAll(async () => {
  await deployment.close();
});

/** Resolves with the next call of a method, which goes on as soon as it has. */
function nextCall(method: string): Promise<PassingCall> {
  return new Promise((resolve) => {
    proxy.meddle = (call) => {
      if (call.method === method) resolve(call);
      return call.pass();
    };
  });
}

test('servers that are asked to stop end their streams and their work, and go on after a new start', async () => {
  const { servers } = deployment;
  const bcp = await deployment.bcp();
  const connection = await deployment.connect('sp', identity('gateway'));
  const gateway = await HandMadeGateway.create(connection, bcp, PATIENT);
  const policy = policyOf(SCHEMA, { window: 5, baseline: 'rolling', retrainEvery: 3 });
  await gateway.enrol(gateway.enrolment(SCHEMA, policy));
  const rows = samples(60);

  const spool = Spool.open(join(deployment.directory, 'spool.db'), {
    patient: PATIENT,
    key: new Secret(randomBytes(32)),
    maxSamples: 64,
  });
  const put = async (from: number, to: number): Promise<void> => {
    for (const [i, { values }] of rows.slice(from, to).entries()) {
      const sequence = from + i + 1;
      const value = await gateway.sample(sequence, values);
      const bytes = IngestRequest.encode({ message: { $case: 'sample', value } }).finish();
      await spool.put([{ sequence, bytes }]);
    }
  };
  const stop = new AbortController();
  let opened = 0;
  const sending = runUplink(
    {
      connection,
      patient: PATIENT,
      parametersDigest: bcp.parameters.digest,
      spool,
      random: systemRandom,
      logger: silentLogger(),
      backoff: { firstMs: 20, longestMs: 100 },
      onOpened: () => (opened += 1),
    },
    stop.signal,
  );
  sending.catch(() => undefined);

  // The SP, in the middle of a score, with samples waiting.
  const scoring = nextCall('Open');
  await put(0, 25);
  await scoring;
  const watching = gateway.events();
  await watching.next();
  const first = servers.sp;
  first.signal('SIGTERM');
  const toTheEnd = async (): Promise<void> => {
    while ((await watching.next()).done !== true);
  };
  await expect(toTheEnd()).rejects.toMatchObject({ code: 'NOT_READY' });
  await first.finished;
  await put(25, 40);
  await servers.startSp(proxy.address);
  await nextCall('InvertMatrix');

  // The CSP, in the middle of a training.
  const csp = servers.csp;
  csp.signal('SIGTERM');
  await csp.finished;
  await put(40, 60);
  await servers.startCsp();

  expectEvents(await gateway.watch(rows.length), rows, SCHEMA, policy);
  await expect.poll(() => spool.size).toBe(0);
  expect(opened).toBeGreaterThanOrEqual(2);
  stop.abort(new Error('the test is over'));
  await expect(sending).rejects.toThrow('the test is over');
  spool.close();

  // Nobody called that a defect, or a failure of the store.
  expect(deployment.log.filter((line) => line.includes('"level":"error"'))).toEqual([]);
});

test('a stream of samples is told that the server goes down', async () => {
  const connection = await deployment.connect('sp', identity('gateway'));
  const gateway = await HandMadeGateway.create(connection, await deployment.bcp(), PATIENT);
  const { stream } = await gateway.open();
  const { sp } = deployment.servers;
  sp.signal('SIGTERM');
  await expect(stream.next()).rejects.toMatchObject({
    code: 'NOT_READY',
    message: 'the server is going down; try again',
  });
  await sp.finished;
});
