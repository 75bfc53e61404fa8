import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import { ParametersServiceService } from '@duoveil/proto';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  createAuthority,
  issueCertificate,
  readAuthority,
  writeAuthority,
  writeCredentials,
} from './certificates.js';
import type { Authority } from './certificates.js';
import { callUnary } from './client.js';
import { authority, clockAt, identity, issue, Loopback } from './fixture.js';
import { identityOfCertificate } from './identity.js';
import { silentLogger } from './logging.js';
import { implement, unary } from './service.js';
import { LiveTls } from './live-tls.js';
import { loadTls } from './tls.js';
import type { Tls } from './tls.js';

const parameters = implement(ParametersServiceService, {
  getParameters: unary({ roles: ['gateway', 'sp'] }, () =>
    Promise.resolve({ parameters: undefined }),
  ),
});
const long = { deadlineMs: 5000 };
const now = new Date();
const longAgo = new Date(now.getTime() - 30 * 86_400_000);

describe('mutual TLS', () => {
  const loopback = new Loopback();
  let ours: Authority;
  let sp: Tls;
  let gateway: Tls;
  let address: string;
  let port: number;

  beforeAll(async () => {
    ours = await authority();
    sp = await issue(ours, identity('sp'));
    gateway = await issue(ours, identity('gateway/p1'));
    ({ address, port } = await loopback.serve(sp, [parameters]));
  });
  afterAll(() => loopback.close());

  const ask = (tls: Tls, at = address, expectRole: 'csp' | 'sp' = 'sp'): Promise<unknown> =>
    callUnary(
      loopback.connect(at, tls, { expectRole }),
      ParametersServiceService.getParameters,
      {},
      long,
    );

  it('lets a party of the deployment in, without warnings', async () => {
    const warning = vi.fn();
    process.on('warning', warning);
    await expect(ask(gateway)).resolves.toEqual({ parameters: undefined });
    await expect(ask(gateway, `localhost:${String(port)}`)).resolves.toBeDefined();
    await new Promise(setImmediate);
    process.off('warning', warning);
    expect(warning).not.toHaveBeenCalled();
  });

  it('refuses plaintext', async () => {
    const client = new Client(address, credentials.createInsecure());
    const { path, requestSerialize, responseDeserialize } = ParametersServiceService.getParameters;
    const answer = new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        {},
        new Metadata(),
        { deadline: Date.now() + 5000 },
        (error, value) => {
          if (error === null) resolve(value);
          else reject(error);
        },
      );
    });
    await expect(answer).rejects.toMatchObject({ code: 14 });
    client.close();
  });

  const handshake = async (options: ConnectionOptions): Promise<string | null> => {
    const socket = tlsConnect({
      port,
      host: '127.0.0.1',
      ca: gateway.ca,
      ALPNProtocols: ['h2'],
      servername: 'localhost',
      ...options,
    });
    try {
      await once(socket, 'secureConnect');
      // In TLS 1.3 the server's verdict on the client comes after the client's own handshake.
      await Promise.race([once(socket, 'data'), once(socket, 'close')]);
      return socket.destroyed ? null : socket.getProtocol();
    } finally {
      socket.destroy();
    }
  };
  const clientKey = (): ConnectionOptions => ({
    cert: gateway.certificate,
    key: gateway.key.reveal(),
  });

  it('speaks TLS 1.3', async () => {
    await expect(handshake(clientKey())).resolves.toBe('TLSv1.3');
  });

  it('refuses TLS 1.2', async () => {
    const old = { ...clientKey(), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
    await expect(handshake(old)).rejects.toThrow(/protocol version|EPROTO|alert/i);
  });

  it('refuses a client without a certificate', async () => {
    await expect(handshake({})).rejects.toThrow(/certificate required|ECONNRESET/);
  });

  it('refuses a client of another authority, and says where to look', async () => {
    const foreign = await issue(await authority('another'), identity('gateway/p1'));
    const intruder: Tls = { ...foreign, ca: gateway.ca };
    await expect(ask(intruder)).rejects.toMatchObject({
      code: 'PEER_UNAVAILABLE',
      message: expect.stringMatching(
        new RegExp(`sp at ${address}.*(authority|certificate)`),
      ) as unknown,
    });
  });

  it('refuses a server of another authority', async () => {
    const foreign = await issue(await authority('another'), identity('sp'));
    const { address: elsewhere } = await loopback.serve(foreign, [parameters]);
    await expect(ask(gateway, elsewhere)).rejects.toMatchObject({
      code: 'PEER_UNAVAILABLE',
      message: expect.stringContaining('TLS handshake failed') as unknown,
    });
  });

  it('refuses an expired certificate of either end', async () => {
    const expired = await issue(ours, identity('gateway/p1'), { now: longAgo });
    await expect(ask(expired)).rejects.toMatchObject({ code: 'PEER_UNAVAILABLE' });

    const expiredServer = await issue(ours, identity('sp'), { now: longAgo });
    const { address: elsewhere } = await loopback.serve(expiredServer, [parameters]);
    await expect(ask(gateway, elsewhere)).rejects.toMatchObject({ code: 'PEER_UNAVAILABLE' });
  });

  it('refuses a server with another role', async () => {
    await expect(ask(gateway, address, 'csp')).rejects.toMatchObject({
      code: 'PEER_UNAVAILABLE',
      details: { peer: `csp at ${address}` },
      message: expect.stringContaining(
        'holds spiffe://test.internal/sp, expected spiffe://test.internal/csp',
      ) as unknown,
    });
  });

  it('refuses a server of another trust domain', async () => {
    const other = await issue(ours, identity('sp', 'other.internal'));
    const { address: elsewhere } = await loopback.serve(other, [parameters]);
    await expect(ask(gateway, elsewhere)).rejects.toMatchObject({ code: 'PEER_UNAVAILABLE' });
  });

  it('refuses a server whose certificate names another host', async () => {
    const other = await issue(ours, identity('sp'), { hosts: ['sp.example'] });
    const { address: elsewhere } = await loopback.serve(other, [parameters]);
    await expect(ask(gateway, elsewhere)).rejects.toMatchObject({
      code: 'PEER_UNAVAILABLE',
      message: expect.stringContaining('does not name the host 127.0.0.1') as unknown,
    });
  });

  it('refuses a client certificate in the place of a server certificate', async () => {
    const { address: elsewhere } = await loopback.serve(gateway, [parameters]);
    await expect(ask(gateway, elsewhere)).rejects.toMatchObject({ code: 'PEER_UNAVAILABLE' });
  });

  it('names the address of a server that is not there', async () => {
    const gone = await loopback.serve(sp, []);
    await gone.drain(0);
    await expect(ask(gateway, gone.address)).rejects.toMatchObject({
      code: 'PEER_UNAVAILABLE',
      message: `cannot reach the sp at ${gone.address}: the connection was refused; is it running, and is the address right?`,
    });
  });
});

describe('TLS files', () => {
  let directory: string;
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const files = async () => {
    directory = await mkdtemp(join(tmpdir(), 'duoveil-tls-'));
    const issuer = await createAuthority({ commonName: 'a', days: 20, now });
    const credentials = await issueCertificate(issuer, {
      identity: identity('csp'),
      hosts: ['csp.example', '10.0.0.7', '::1'],
      days: 10,
      now,
    });
    return { issuer, credentials, paths: await writeCredentials(directory, credentials) };
  };

  it('are written for their owner only and read back', async () => {
    const { issuer, credentials, paths } = await files();
    expect((await stat(paths.key)).mode & 0o777).toBe(0o600);
    const tls = await loadTls(paths);
    expect(tls.identity).toEqual(identity('csp'));

    const leaf = new X509Certificate(credentials.certificate);
    const root = new X509Certificate(issuer.certificate);
    expect(leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.checkIssued(root)).toBe(true);
    expect([root.ca, leaf.ca]).toEqual([true, false]);
    expect(leaf.checkHost('csp.example')).toBe('csp.example');
    expect(leaf.checkIP('10.0.0.7')).toBe('10.0.0.7');
    expect(leaf.checkIP('::1')).toBe('::1');
    expect(identityOfCertificate(leaf)).toEqual(identity('csp'));
    // id-kp-clientAuth and id-kp-serverAuth: a CSP may do both.
    expect([...leaf.keyUsage].sort()).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);

    await writeAuthority(directory, issuer);
    expect((await stat(join(directory, 'ca.key'))).mode & 0o777).toBe(0o600);
    expect((await readAuthority(directory)).key.reveal()).toBe(issuer.key.reveal());
  });

  it('are refused to a party that has another role', async () => {
    const { paths } = await files();
    const open = (role: 'csp' | 'sp') => LiveTls.open({ directory, role, logger: silentLogger() });
    const live = await open('csp');
    live.close();
    expect(live.identity).toEqual(identity('csp'));
    await expect(open('sp')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `tls.certificate: ${paths.certificate} is that of spiffe://test.internal/csp, which is no sp`,
    });
  });

  it('are refused with the file and the reason', async () => {
    const { credentials, paths } = await files();
    const invalid = (path: string, message: RegExp) => ({
      code: 'CONFIG_INVALID',
      details: { path },
      message: expect.stringMatching(message) as unknown,
    });
    await expect(loadTls({ ...paths, key: join(directory, 'no.key') })).rejects.toMatchObject(
      invalid('tls.key', /no\.key: no such file/),
    );
    await expect(loadTls({ ...paths, certificate: paths.key })).rejects.toMatchObject(
      invalid('tls.certificate', /tls\.key is not a certificate in PEM form/),
    );
    await expect(loadTls({ ...paths, key: paths.certificate })).rejects.toMatchObject(
      invalid('tls.key', /is not an unencrypted private key/),
    );
    const later = clockAt(new Date(now.getTime() + 11 * 86_400_000));
    await expect(loadTls(paths, later)).rejects.toMatchObject(
      invalid('tls.certificate', /tls\.crt expired on/),
    );
    await expect(loadTls(paths, clockAt(longAgo))).rejects.toMatchObject(
      invalid('tls.ca', /is not valid before/),
    );
    await expect(loadTls({ ...paths, certificate: paths.ca })).rejects.toMatchObject(
      invalid('tls.key', /is not the key of/),
    );
    const other = await createAuthority({ commonName: 'b', days: 20, now });
    await chmod(paths.key, 0o600);
    await writeFile(paths.key, other.key.reveal());
    await writeFile(paths.certificate, other.certificate);
    await expect(loadTls(paths)).rejects.toMatchObject(
      invalid('tls.certificate', /carries no identity/),
    );
    expect(createPrivateKey(credentials.key.reveal()).asymmetricKeyType).toBe('ec');
  });

  it('of an authority must belong together', async () => {
    const { issuer, credentials } = await files();
    await writeAuthority(directory, { ...issuer, key: credentials.key });
    await expect(readAuthority(directory)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('of one authority') as unknown,
    });
  });
});
