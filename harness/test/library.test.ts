/** The library for integrators' tests: what it starts, breaks and removes. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { isDuoveilError } from '@duoveil/gateway';
import type { Decision } from '@duoveil/gateway';
import { awaitDecisions, startDeployment } from '@duoveil/harness';
import type { Deployment } from '@duoveil/harness';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { monitor } from '../../examples/src/monitor.js';
import { descendantsOf, stillRunning } from '../src/parties/processes.js';
import { fencedBlocks, readDocument } from './documents.js';

const MONITORING = { channels: ['HR', 'SpO2'], window: 4, quantile: 0.99 } as const;
const QUIET = { logLevel: 'error' } as const;
const reading = (i: number) => ({ values: { HR: 70 + (i % 3), SpO2: 96 + (i % 2) } });

let deployment: Deployment;
beforeAll(async () => {
  deployment = await startDeployment({ logLevel: 'error' });
});
afterAll(() => deployment.stop());

describe('a deployment', () => {
  test('decides on what gateways send, through dropped and delayed messages', async () => {
    await using gateway = await deployment.enrol('patient-1', MONITORING, QUIET);
    const { gatewayLink, serverLink } = deployment;
    gatewayLink.drop({ method: 'Ingest', direction: 'response' });
    gatewayLink.delay(20, { method: 'Watch', direction: 'response', times: 2 });
    for (let i = 0; i < 6; i += 1) await gateway.send(reading(i));
    await gateway.delivered();
    serverLink.drop({ direction: 'response' });
    for (let i = 6; i < 10; i += 1) await gateway.send(reading(i));
    const decisions = await awaitDecisions(gateway, { count: 10 });
    expect(decisions.map(({ sequence, kind }) => [sequence, kind])).toEqual(
      Array.from({ length: 10 }, (_, i) => [i + 1, i < 4 ? 'learning' : 'scored']),
    );
    expect([gatewayLink.pending, serverLink.pending]).toEqual([0, 0]);
    const { mean } = await gateway.statistics();
    expect(mean).toEqual([70.75, 96.5]);
  });

  test('goes on after its servers were killed, stopped and cut off', async () => {
    const gateway = await deployment.enrol('patient-2', MONITORING, QUIET);
    const before = deployment.sp.pid;
    for (let i = 0; i < 5; i += 1) await gateway.send(reading(i));
    deployment.sp.kill();
    await gateway.send(reading(5));
    await gateway.delivered();
    await deployment.csp.stop();
    await gateway.send(reading(6));
    await gateway.delivered();
    await deployment.csp.start();
    expect(deployment.sp.pid).not.toBe(before);

    deployment.gatewayLink.cut();
    await gateway.send(reading(7));
    await expect(awaitDecisions(gateway, { from: 8, count: 1, timeoutMs: 300 })).rejects.toThrow(
      '0 of 1 decisions came in 300 ms',
    );
    await gateway.close();
    deployment.gatewayLink.heal();
    // What was on its disk is sent by the next one.
    await using again = await deployment.connect('patient-2', QUIET);
    await again.send(reading(8));
    expect(await awaitDecisions(again, { from: 5, count: 5 })).toHaveLength(5);
  });

  test('serves the example of a gateway', async () => {
    const monitoring = { ...MONITORING, channels: [...MONITORING.channels] };
    const { directory, parametersDigest, address } = deployment;
    await (await deployment.enrol('patient-4', monitoring)).close();
    const own = join(directory, 'gateway-patient-4');
    const where = { tls: join(own, 'tls'), state: join(own, 'state') };
    const decisions: Decision[] = [];
    await monitor(
      { ...where, sp: address, keyFile: join(own, 'sealing.key') },
      { ...monitoring, parametersDigest, insecureKeyBits: true },
      Readable.from([reading(0), { values: { HR: 70 } }, ...[1, 2, 3, 4].map(reading)]),
      (decision) => decisions.push(decision),
    );
    expect(decisions.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
  });

  test.each([
    ['docs/sdk.md', 'examples/src/monitor.ts'],
    ['docs/testing.md', 'examples/test/outage.test.ts'],
  ])('%s shows %s as it is', (document, example) => {
    expect(fencedBlocks(readDocument(document), 'ts')).toContain(readDocument(example).text);
  });

  test('refuses what a deployment refuses', async () => {
    const refused: unknown = await deployment
      .enrol('patient-3', { ...MONITORING, output: 'distance', suite: 'reference' })
      .catch((error: unknown) => error);
    expect(isDuoveilError(refused, 'OUTPUT_NOT_ALLOWED')).toBe(true);
    await expect(deployment.enrol('not a name')).rejects.toThrow(/name/);
  });

  test('leaves nothing behind', async () => {
    const own = descendantsOf(process.pid);
    const directory = deployment.directory;
    expect(existsSync(directory)).toBe(true);
    await deployment.stop();
    expect(stillRunning(own).filter(({ command }) => command.includes(directory))).toEqual([]);
    expect(existsSync(directory)).toBe(false);
  });
});
