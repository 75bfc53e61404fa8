import { parseParametersDigest } from '@duoveil/common/bcp';
import { metrics, type Connection } from '@duoveil/common/runtime';
import { CustodyServiceService, type GetCustodyResponse } from '@duoveil/proto';
import { Metadata, status as Status, type Client } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';

import { duoveilError } from '@duoveil/common/errors';

import { FAKE_NOW } from './fake-fleet.js';
import { StandingClock } from './fixture.js';
import { LiveSystem } from './live-system.js';
import { systemSchema } from './system.js';

const DIGEST = 'ab'.repeat(32);

/** A CSP that answers as it is told to; how often it was asked. */
class Csp {
  asked = 0;
  answer: GetCustodyResponse | Error = {
    custody: {
      ...{ unsealed: true, locks: [], auditSequence: 0n, auditHash: Buffer.alloc(32) },
      generations: [generation(1, 'cd', 5n), generation(2, 'ef', 0n), generation(3, 'ab', 0n)],
    },
  };

  get connection(): Connection {
    const client = {
      makeUnaryRequest: (...args: unknown[]) => {
        const callback = args.at(-1) as (error: unknown, response?: unknown) => void;
        expect(args[0]).toBe(CustodyServiceService.getCustody.path);
        this.asked += 1;
        queueMicrotask(() => {
          if (this.answer instanceof Error) callback(this.answer);
          else callback(null, this.answer);
        });
        return { cancel: () => undefined };
      },
    };
    return {
      ...{ peer: 'csp at nowhere', address: { host: 'nowhere', port: 0 }, peerValidTo: FAKE_NOW },
      client: client as unknown as Client,
      decode: () => duoveilError('PEER_UNAVAILABLE', 'gone', { peer: 'csp' }),
      hold: () => () => undefined,
      close: () => undefined,
    };
  }
}

function generation(number: number, digest: string, retiredAt: bigint) {
  const parametersDigest = Buffer.from(digest.repeat(32), 'hex');
  return { number, parametersDigest, bits: 2048, createdAt: 1n, retiredAt };
}

const open: LiveSystem[] = [];
function start(csp: Csp): { readonly system: LiveSystem; readonly clock: StandingClock } {
  const clock = new StandingClock();
  const system = new LiveSystem({
    ...{ csp: csp.connection, clock, isReady: () => true },
    parametersDigest: parseParametersDigest(DIGEST, 'digest'),
    ...{ certificateValidTo: () => FAKE_NOW, httpValidTo: () => undefined },
  });
  open.push(system);
  return { system, clock };
}
afterEach(() => {
  for (const system of open.splice(0)) system.close();
});

describe('the CSP', () => {
  test('is ready, with its generations of keys', async () => {
    const { system } = start(new Csp());
    const report = systemSchema.parse(await system.report());
    expect(report.csp).toMatchObject({
      ...{ reachable: true, state: 'ready', problem: null, keyGenerations: [2, 3] },
      ...{ keyGenerationInUse: 3, certificateExpiresAt: FAKE_NOW.toISOString() },
    });
  });

  test('is sealed', async () => {
    const csp = new Csp();
    csp.answer = { custody: undefined };
    expect((await start(csp).system.report()).csp).toMatchObject({
      reachable: true,
      state: 'sealed',
    });
  });

  test('does not answer', async () => {
    const csp = new Csp();
    const metadata = new Metadata();
    csp.answer = Object.assign(new Error('gone'), { code: Status.UNAVAILABLE, metadata });
    const report = systemSchema.parse(await start(csp).system.report());
    expect(report.csp).toMatchObject({
      ...{ reachable: false, state: 'unreachable', problem: 'PEER_UNAVAILABLE' },
    });
  });

  test('is asked once a second, however many look', async () => {
    const csp = new Csp();
    const { system, clock } = start(csp);
    await Promise.all(Array.from({ length: 50 }, () => system.report()));
    expect(csp.asked).toBe(1);
    clock.advance(1000);
    await system.report();
    expect(csp.asked).toBe(2);
  });
});

test('the service provider says what its metrics have, until it is closed', async () => {
  const { system, clock } = start(new Csp());
  for (let i = 1; i <= 6; i += 1) metrics.decisionDelay.record(i / 1000);
  metrics.scores.record(0.5);
  const ends = [
    metrics.pending.observe((report) => {
      report(3);
      report(4);
    }),
    metrics.lag.observe((report) => {
      report(1.5);
    }),
  ];
  clock.advance(2500);
  const { sp } = systemSchema.parse(await system.report());
  for (const end of ends) end();
  expect(sp).toMatchObject({
    ...{ ready: true, version: '0.1.0', uptimeSeconds: 2.5, pending: 7, lagMs: 1500 },
    ...{ decisionsPerSecond: 0.1, decisionMs: { p50: 3, p95: 6, p99: 6 } },
    ...{ scoreMs: { p50: 500, p95: 500, p99: 500 }, httpCertificateExpiresAt: null },
  });
  system.close();
  metrics.decisionDelay.record(9);
  expect((await system.report()).sp.decisionsPerSecond).toBe(0.1);
});
