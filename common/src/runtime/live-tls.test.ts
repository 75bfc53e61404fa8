import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PeerCertificate } from 'node:tls';
import { ParametersServiceService as Parameters, MonitoringServiceService } from '@duoveil/proto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { issueCertificate, signRevocationList, writeCredentials } from './certificates.js';
import type { Authority } from './certificates.js';
import { callServerStream, callUnary } from './client.js';
import type { Connection } from './client.js';
import type { Clock } from './clock.js';
import { authority, identity, lineCollector, Loopback } from './fixture.js';
import type { Identity } from './identity.js';
import { LiveTls } from './live-tls.js';
import { createLogger } from './logging.js';
import { implement, serverStream, unary } from './service.js';
import type { TlsSource } from './tls-source.js';

const dayMs = 86_400_000;
const long = { deadlineMs: 10_000 };

/** Answers. */
const answering = implement(Parameters, {
  getParameters: unary({ roles: ['gateway'] }, () => Promise.resolve({ parameters: undefined })),
});

let directory: string;
let ours: Authority;
let loopback: Loopback;
let log: ReturnType<typeof lineCollector>;
const opened: { close(): void }[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-live-'));
  ours = await authority();
  loopback = new Loopback();
  log = lineCollector();
});
afterEach(async () => {
  for (const live of opened.splice(0)) live.close();
  await loopback.close();
  await rm(directory, { recursive: true, force: true });
});

/** Answers once, and then no more until the call ends. */
const watching = implement(MonitoringServiceService, {
  watch: serverStream({ roles: ['gateway'] }, async function* (_request, { signal }) {
    yield { event: undefined };
    await new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    });
  }),
});

/** A stream that has begun, and the error that it ends with. */
async function streaming(connection: Connection): Promise<{ readonly end: Promise<unknown> }> {
  const request = { patientId: 'p1', fromSequence: 1n };
  const stream = callServerStream(connection, MonitoringServiceService.watch, request);
  await stream.next();
  return { end: stream.next().catch((error: unknown) => error) };
}

/** Issues into a party's directory; the new certificate's serial number. */
async function put(who: Identity, options: { days?: number; from?: Authority } = {}) {
  const credentials = await issueCertificate(options.from ?? ours, {
    identity: who,
    hosts: ['127.0.0.1'],
    days: options.days ?? 30,
    now: new Date(),
  });
  await writeCredentials(join(directory, who.role), credentials);
  return new X509Certificate(credentials.certificate).serialNumber;
}

/** Revokes in the file of one party, or of several. */
async function revoke(serialNumbers: readonly string[], at: readonly string[], from = ours) {
  const now = new Date();
  const revoked = serialNumbers.map((serialNumber) => ({ serialNumber, revokedAt: now }));
  const list = await signRevocationList(from, { revoked, days: 30, now });
  for (const role of at) await writeFile(join(directory, role, 'ca.crl'), list);
}

async function open<R extends 'sp' | 'gateway'>(role: R, clock?: Clock): Promise<LiveTls<R>> {
  const live = await LiveTls.open({
    directory: join(directory, role),
    role,
    logger: createLogger({ service: role, stream: log.stream }),
    reloadMs: 0,
    onHangUp: true,
    ...(clock !== undefined && { clock }),
  });
  opened.push(live);
  return live;
}

const ask = (connection: Connection): Promise<unknown> =>
  callUnary(connection, Parameters.getParameters, {}, long);

const logged = (message: RegExp): string[] => log.lines.filter((line) => message.test(line));

/** The certificate that a server shows on the connection of the next call. */
async function shownBy(connection: Connection): Promise<PeerCertificate | undefined> {
  return new Promise((resolve, reject) => {
    const { path, requestSerialize, responseDeserialize } = Parameters.getParameters;
    const call = connection.client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      {},
      (error) => {
        if (error === null) resolve(call.getAuthContext()?.sslPeerCertificate);
        else reject(error);
      },
    );
  });
}

describe('replaced files', () => {
  it('are shown by a server on its next connection, the old one going on', async () => {
    const before = await put(identity('sp'));
    await put(identity('gateway/p1'));
    const [sp, gateway] = [await open('sp'), await open('gateway')];
    const { address } = await loopback.serve(sp.current, [answering], { tls: sp });
    const first = loopback.connect(address, gateway.current);
    expect((await shownBy(first))?.serialNumber).toBe(before);

    const after = await put(identity('sp'));
    await sp.reload();
    expect(after).not.toBe(before);
    expect((await shownBy(first))?.serialNumber).toBe(before);
    const second = loopback.connect(address, gateway.current);
    expect((await shownBy(second))?.serialNumber).toBe(after);
    expect(logged(/certificates reloaded/)).toHaveLength(1);
  });

  it('are shown by a client on its next call, while a stream goes on', async () => {
    await put(identity('sp'));
    await put(identity('gateway/p1'));
    const [sp, gateway] = [await open('sp'), await open('gateway')];
    const { address } = await loopback.serve(sp.current, [answering, watching]);
    const connection = loopback.connect(address, gateway.current, { tls: gateway });
    const { end } = await streaming(connection);
    let ended = false;
    void end.then(() => (ended = true));

    const old = connection.client;
    await put(identity('gateway/p1'));
    await gateway.reload();
    expect(connection.client).not.toBe(old);
    await ask(connection);
    expect(ended).toBe(false);
  });

  it('are looked at when the process is told to hang up', async () => {
    await put(identity('sp'));
    const sp = await open('sp');
    const changed = new Promise((resolve) => sp.subscribe(resolve));
    await put(identity('sp'));
    process.emit('SIGHUP');
    await changed;
    expect(sp.current.validTo.getTime()).toBeGreaterThan(Date.now());
  });

  it('that cannot be used are warned about once, and those in force stay', async () => {
    await put(identity('sp'));
    const sp = await open('sp');
    const inForce = sp.current;
    const key = join(directory, 'sp', 'tls.key');
    await writeFile(key, 'half of a k');
    await sp.reload();
    expect(logged(/cannot be used/)).toEqual([]);
    await sp.reload();
    await sp.reload();
    expect(logged(/cannot be used/)).toHaveLength(1);
    expect(logged(/tls\.key is not an unencrypted private key/)).toHaveLength(1);
    expect(sp.current).toBe(inForce);

    await put(identity('sp'));
    await sp.reload();
    expect(sp.current).not.toBe(inForce);
  });

  it.each<[what: string, spoil: () => Promise<unknown>, why: RegExp]>([
    ['another party', () => put(identity('sp', 'other.internal')), /is that of spiffe:\/\/other/],
    [
      'an expired certificate',
      async () => {
        const now = new Date(Date.now() - 40 * dayMs);
        const old = { identity: identity('sp'), hosts: [], days: 30, now };
        await writeCredentials(join(directory, 'sp'), await issueCertificate(ours, old));
      },
      /expired on/,
    ],
    [
      "a revocation list that is not the authority's",
      async () => revoke(['01'], ['sp'], await authority('another')),
      /not signed by the authority/,
    ],
    [
      'no revocation list where there was one',
      () => rm(join(directory, 'sp', 'ca.crl')),
      /is gone/,
    ],
  ])('are refused: %s', async (_what, spoil, why) => {
    await put(identity('sp'));
    await revoke([], ['sp']);
    const sp = await open('sp');
    const inForce = sp.current;
    await spoil();
    await sp.reload(true);
    expect(sp.current).toBe(inForce);
    expect(logged(why)).toHaveLength(1);
  });

  it('may bring an authority that takes over from another', async () => {
    await put(identity('sp'));
    await put(identity('gateway/p1'));
    const [sp, gateway] = [await open('sp'), await open('gateway')];
    const { address } = await loopback.serve(sp.current, [answering], { tls: sp });
    const theirs = await authority('the next authority');
    await put(identity('gateway/p1'), { from: theirs });
    const both = `${ours.certificate}\n${theirs.certificate}`;
    await writeFile(join(directory, 'gateway', 'ca.crt'), both);
    await gateway.reload();
    const newcomer = loopback.connect(address, gateway.current);
    await expect(ask(newcomer)).rejects.toMatchObject({ code: 'PEER_UNAVAILABLE' });

    await writeFile(join(directory, 'sp', 'ca.crt'), both);
    await sp.reload();
    await expect(ask(loopback.connect(address, gateway.current))).resolves.toBeDefined();
  });
});

describe('the end of a certificate', () => {
  it('is warned about when it is near, once a day, and not any more after a replacement', async () => {
    let now = Date.now();
    const clock: Clock = { now: () => new Date(now), monotonicMs: () => now };
    await put(identity('sp'));
    const sp = await open('sp', clock);
    expect(logged(/is about to expire/)).toEqual([]);
    now += 17 * dayMs;
    await sp.reload();
    await sp.reload();
    expect(logged(/the certificate is about to expire/)).toHaveLength(1);
    now += dayMs;
    await sp.reload();
    expect(logged(/the certificate is about to expire/)).toHaveLength(2);
    await put(identity('sp'), { days: 60 });
    await sp.reload();
    expect(logged(/is about to expire/)).toHaveLength(2);
  });

  it('is the end of the connections that were made with it', async () => {
    let now = Date.now();
    const clock: Clock = { now: () => new Date(now), monotonicMs: () => performance.now() };
    await put(identity('sp'));
    await put(identity('gateway/p1'));
    const [sp, gateway] = [await open('sp'), await open('gateway')];
    const { address } = await loopback.serve(sp.current, [answering], { clock });
    const connection = loopback.connect(address, gateway.current);
    await ask(connection);
    now += 31 * dayMs;
    await expect(ask(connection)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
      message: 'the certificate of this connection has expired',
    });
  });
});

describe('a revoked certificate', () => {
  /** A server and a gateway; each follows its own files, or does not. */
  async function parties(follow: { sp?: boolean; gateway?: boolean } = {}) {
    const serials = {
      sp: await put(identity('sp')),
      gateway: await put(identity('gateway/p1')),
    };
    const [sp, gateway] = [await open('sp'), await open('gateway')];
    const source = (live: TlsSource, follows = true) => (follows ? live : live.current);
    const { address } = await loopback.serve(sp.current, [answering, watching], {
      tls: source(sp, follow.sp),
    });
    const connection = loopback.connect(address, gateway.current, {
      tls: source(gateway, follow.gateway),
    });
    return { serials, sp, gateway, address, connection };
  }

  it('of a client ends its streams, and is the end of its calls', async () => {
    const { serials, sp, gateway, address, connection } = await parties();
    const { end } = await streaming(connection);
    await revoke([serials.gateway], ['sp']);
    await sp.reload();
    const refused = { code: 'UNAUTHENTICATED', message: 'the certificate was revoked' };
    expect(await end).toMatchObject(refused);
    await expect(ask(connection)).rejects.toMatchObject(refused);
    await expect(ask(loopback.connect(address, gateway.current))).rejects.toMatchObject(refused);
    // A new certificate is as good as ever.
    await put(identity('gateway/p1'));
    await gateway.reload();
    await expect(ask(connection)).resolves.toBeDefined();
  });

  it('of a client would get in where the server did not look again', async () => {
    const { serials, sp, connection } = await parties({ sp: false });
    await revoke([serials.gateway], ['sp']);
    await sp.reload();
    await expect(ask(connection)).resolves.toBeDefined();
  });

  it('of a server ends the calls to it, and no other one is made', async () => {
    const { serials, gateway, connection } = await parties();
    const { end } = await streaming(connection);
    await revoke([serials.sp], ['gateway']);
    await gateway.reload();
    expect(await end).toMatchObject({ code: 'PEER_UNAVAILABLE' });
    await expect(ask(connection)).rejects.toMatchObject({
      code: 'PEER_UNAVAILABLE',
      message: expect.stringContaining('its certificate was revoked') as unknown,
    });
  });

  it('of a server would be believed where the client did not look again', async () => {
    const { serials, gateway, connection } = await parties({ gateway: false });
    await revoke([serials.sp], ['gateway']);
    await gateway.reload();
    await expect(ask(connection)).resolves.toBeDefined();
  });

  it('says nothing about others', async () => {
    const { sp, gateway, connection } = await parties();
    await revoke(['01', 'ff'.repeat(16)], ['sp', 'gateway']);
    await sp.reload();
    await gateway.reload();
    await expect(ask(connection)).resolves.toBeDefined();
  });

  it('is known from the start', async () => {
    const serial = await put(identity('gateway/p1'));
    await put(identity('sp'));
    // Different programmes write a serial number differently.
    await revoke([`00${serial.toUpperCase()}`], ['sp']);
    const [sp, gateway] = [await open('sp'), await open('gateway')];
    const { address } = await loopback.serve(sp.current, [answering], { tls: sp });
    await expect(ask(loopback.connect(address, gateway.current))).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  });
});
