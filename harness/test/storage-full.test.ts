/** A service provider whose disk is full, and is not any more. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { parsePatientId, silentLogger, systemSleep } from '@duoveil/common/runtime';
import { systemRandom } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';
import { runUplink, Spool } from '@duoveil/gateway/parts';
import { IngestRequest } from '@duoveil/proto';

import { Deployment, identity, PATIENT } from './support/deployment.js';
import { HandMadeGateway, policyOf, SCHEMA } from './support/hand-made.js';
import { expectEvents, samples } from './support/series.js';

/** The limits of a process that runs can be changed on Linux, with a tool that is nearly everywhere. */
const available = spawnSync('prlimit', ['--version']).status === 0;

let deployment: Deployment;
beforeAll(async () => {
  deployment = await Deployment.start();
});
afterAll(() => deployment.close());

/** Lets the SP's files grow by so many bytes and no further. */
function limit(bytes: number | 'unlimited'): void {
  const { servers } = deployment;
  const largest = ['', '-wal'].map((suffix) => statSync(servers.spDatabase + suffix).size);
  const soft = bytes === 'unlimited' ? bytes : String(Math.max(...largest) + bytes);
  const pid = String(servers.sp.pid ?? 0);
  execFileSync('prlimit', ['--pid', pid, `--fsize=${soft}:unlimited`]);
}

describe.skipIf(!available)('a service provider whose disk is full', () => {
  test('acknowledges nothing that it has not stored, and goes on when there is room', async () => {
    const bcp = await deployment.bcp();
    const connection = await deployment.connect('sp', identity('gateway'));
    const gateway = await HandMadeGateway.create(connection, bcp, PATIENT);
    const policy = policyOf(SCHEMA, { window: 5 });
    await gateway.enrol(gateway.enrolment(SCHEMA, policy));
    const rows = samples(40);
    await gateway.deliver(rows.slice(0, 3).map(({ values }) => values));

    limit(20_000);
    const { stream, next } = await gateway.open();
    let acknowledged = next - 1n;
    const refused = (async () => {
      for (let sequence = next; ; sequence += 1n) {
        await stream.sendSample(await gateway.sample(sequence, [600n, 660n]));
        const answer = await stream.next();
        if (answer?.$case === 'acknowledged') acknowledged = answer.value.sequence;
      }
    })();
    await expect(refused).rejects.toMatchObject({ code: 'STORAGE_FULL' });
    // It serves on, and knows what it has.
    expect((await gateway.open()).next).toBe(acknowledged + 1n);
    await deployment.logged(/STORAGE_FULL/);
    limit('unlimited');
    await gateway.deliver([[600n, 660n]]);
    expect((await gateway.open()).next).toBe(acknowledged + 2n);
  });

  test('costs the gateway nothing but time', async () => {
    const bcp = await deployment.bcp();
    const patient = parsePatientId('patient-2', 'patient');
    const connection = await deployment.connect('sp', identity('gateway', patient));
    const gateway = await HandMadeGateway.create(connection, bcp, patient);
    const policy = policyOf(SCHEMA, { window: 5 });
    await gateway.enrol(gateway.enrolment(SCHEMA, policy));
    const rows = samples(40);

    const spool = Spool.open(join(deployment.directory, 'spool.db'), {
      patient: patient,
      key: new Secret(randomBytes(32)),
      maxSamples: 64,
    });
    for (const [i, { values }] of rows.entries()) {
      const value = await gateway.sample(i + 1, values);
      const bytes = IngestRequest.encode({ message: { $case: 'sample', value } }).finish();
      await spool.put([{ sequence: i + 1, bytes }]);
    }
    const stop = new AbortController();
    let pauses = 0;
    limit(30_000);
    const sending = runUplink(
      {
        connection,
        patient,
        parametersDigest: bcp.parameters.digest,
        spool,
        random: systemRandom,
        logger: silentLogger(),
        backoff: { firstMs: 20, longestMs: 50 },
        // Each pause is one attempt that the full disk has foiled.
        sleep: async (ms, signal) => {
          pauses += 1;
          if (pauses === 5) limit('unlimited');
          await systemSleep(ms, signal);
        },
      },
      stop.signal,
    );
    sending.catch(() => undefined);
    expectEvents(await gateway.watch(rows.length), rows, SCHEMA, policy);
    await expect.poll(() => spool.size).toBe(0);
    expect(pauses).toBeGreaterThanOrEqual(5);
    stop.abort(new Error('the test is over'));
    await expect(sending).rejects.toThrow('the test is over');
    spool.close();
  });
});
