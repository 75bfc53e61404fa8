/** Who gets through to the servers, and to which of their calls. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect as tcpConnect } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import type { PeerCertificate } from 'node:tls';

import {
  createAuthority,
  parsePatientId,
  roles,
  signRevocationList,
} from '@duoveil/common/runtime';
import type { Connection, Role, Tls } from '@duoveil/common/runtime';
import { isDuoveilError } from '@duoveil/common/errors';
import type { DuoveilError } from '@duoveil/common/errors';
import * as proto from '@duoveil/proto';
import { credentials, Client, Metadata, status } from '@grpc/grpc-js';
import type { ServiceDefinition, ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { PERMISSIONS } from '../src/parties/permissions.js';
import { Deployment, identity, PATIENT } from './support/deployment.js';
import { duoveil } from './support/duoveil.js';
import { HandMadeGateway } from './support/hand-made.js';

let deployment: Deployment;
beforeAll(async () => {
  deployment = await Deployment.start();
});
afterAll(() => deployment.close());

/** All calls of the wire contract, by their paths. */
const contract = Object.entries(proto)
  .filter(([name]) => name.endsWith('ServiceService'))
  .flatMap(([, definition]) => Object.values(definition as ServiceDefinition));

const servers = ['csp', 'sp'] as const;

/**
 * Calls without sending anything that means something.
 * @returns the status; undefined where the call was let in
 */
function knock(connection: Connection, path: string): Promise<ServiceError | undefined> {
  const same = (bytes: Buffer): Buffer => bytes;
  // All alarms would be waited for: a patient who is not there has none.
  const nobody = Buffer.from('\n\x06nobody');
  const request = path.endsWith('/WatchAlarms') ? nobody : Buffer.alloc(0);
  const definition = contract.find((call) => call.path === path);
  const deadline = { deadline: Date.now() + 60_000 };
  const { client } = connection;
  return new Promise((resolve) => {
    const settle = (error?: ServiceError | null): void => {
      resolve(error ?? undefined);
    };
    if (
      definition?.requestStream === true ||
      definition?.responseStream === true ||
      path.endsWith('/Watch')
    ) {
      const call =
        definition?.requestStream === true
          ? client.makeBidiStreamRequest(path, same, same, new Metadata(), deadline).end()
          : client.makeServerStreamRequest(path, same, same, request, deadline);
      call.on('error', settle).on('status', () => {
        settle();
      });
      // A health watch answers at once, and goes on.
      call.on('data', () => {
        settle();
        call.cancel();
      });
    } else {
      client.makeUnaryRequest(path, same, same, request, new Metadata(), deadline, settle);
    }
  });
}

describe('the table of permissions', () => {
  test('has every call of the contract, and no other', () => {
    const listed = new Set(servers.flatMap((server) => Object.keys(PERMISSIONS[server])));
    const known = new Set(contract.map(({ path }) => path));
    expect([...listed].filter((path) => !path.startsWith('/grpc.health.')).sort()).toEqual(
      [...known].sort(),
    );
  });
});

describe.each(servers)('the %s', (server) => {
  const table: Readonly<Record<string, readonly Role[]>> = PERMISSIONS[server];

  test.each(roles)('lets the role %s make the calls that it may, and no other', async (role) => {
    const connection = await deployment.connect(server, identity(role));
    for (const [path, allowed] of Object.entries(table)) {
      const refused = (await knock(connection, path))?.code === status.PERMISSION_DENIED;
      expect({ path, allowed: !refused }).toEqual({ path, allowed: allowed.includes(role) });
    }
    if (server === 'csp' && role === 'custodian') await deployment.unseal();
  });

  test('serves nothing else', async () => {
    const other: Readonly<Record<string, readonly Role[]>> =
      PERMISSIONS[server === 'sp' ? 'csp' : 'sp'];
    for (const { path } of contract.filter((call) => !(call.path in table))) {
      const [role = 'sp'] = other[path] ?? [];
      const connection = await deployment.connect(server, identity(role));
      expect(await knock(connection, path)).toMatchObject({ code: status.UNIMPLEMENTED });
    }
  });

  test('refuses everybody whose certificate is not of this deployment, or not valid', async () => {
    const role = server === 'csp' ? 'sp' : 'gateway';
    const path = '/duoveil.v1.ParametersService/GetParameters';
    const now = new Date();
    const authority = await createAuthority({ commonName: 'test authority', days: 2, now });
    const ca = Buffer.from(deployment.authority.certificate);
    const strangers = {
      'another authority': { authority, ca },
      'an expired certificate': { now: new Date(now.getTime() - 3 * 86_400_000) },
      'a certificate of the future': { now: new Date(now.getTime() + 3 * 86_400_000) },
    };
    for (const [name, how] of Object.entries(strangers)) {
      const connection = await deployment.connect(server, identity(role), how);
      const error = await knock(connection, path);
      expect({ name, error }).toMatchObject({ name, error: { code: status.UNAVAILABLE } });
    }
    const domain = { ...identity(role), trustDomain: 'elsewhere.internal' };
    const tls = await deployment.tls(domain);
    const address = server === 'sp' ? deployment.servers.address : deployment.servers.cspAddress;
    // It would refuse the server for the same reason: that check is made to pass.
    const believed = deployment.connectWith(server, address, { ...tls, identity: identity(role) });
    expect(await knock(believed, path)).toMatchObject({ code: status.UNAUTHENTICATED });
    const good = await deployment.connect(server, identity(role));
    expect(await knock(good, path)).toBeUndefined();
  });

  test('answers nothing to plaintext', async () => {
    const address = server === 'sp' ? deployment.servers.address : deployment.servers.cspAddress;
    const client = new Client(address, credentials.createInsecure());
    const path = '/duoveil.v1.ParametersService/GetParameters';
    const error = await new Promise<ServiceError | null>((resolve) => {
      const same = (bytes: Buffer): Buffer => bytes;
      const options = { deadline: Date.now() + 5_000 };
      client.makeUnaryRequest(path, same, same, Buffer.alloc(0), new Metadata(), options, resolve);
    });
    client.close();
    expect(error).toMatchObject({ code: status.UNAVAILABLE });

    const socket = tcpConnect(Number(address.split(':')[1]), '127.0.0.1');
    const received: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.on('error', () => undefined);
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    await once(socket, 'close');
    // At the most a TLS alert.
    expect(Buffer.concat(received).length).toBeLessThan(16);
  });
});

describe('a gateway', () => {
  const other = parsePatientId('patient-2', 'patient');

  test('acts for its own patient only, in every call', async () => {
    const bcp = await deployment.bcp();
    const theirs = await deployment.connect('sp', identity('gateway', other));
    const victim = await HandMadeGateway.create(theirs, bcp, other);
    await victim.enrol();

    const connection = await deployment.connect('sp', identity('gateway'));
    const attacker = await HandMadeGateway.create(connection, bcp, other);
    const denied: Partial<DuoveilError> = {
      code: 'PERMISSION_DENIED',
      message: "a gateway may name its own certificate's patient only",
    };
    await expect(attacker.enrol()).rejects.toMatchObject(denied);
    await expect(attacker.enrol(victim.enrolment())).rejects.toMatchObject(denied);
    await expect(attacker.watch(1)).rejects.toMatchObject(denied);
    const stream = attacker.ingest();
    await stream.send(attacker.opening());
    await stream.sendSample(await attacker.sample(1, [1n, 2n]));
    await expect(stream.next()).rejects.toMatchObject(denied);

    expect((await victim.open()).next).toBe(1n);
  });

  test('learns the same from a patient who is not there', async () => {
    const connection = await deployment.connect('sp', identity('gateway'));
    const nobody = parsePatientId('nobody', 'patient');
    const attacker = await HandMadeGateway.create(connection, await deployment.bcp(), nobody);
    await expect(attacker.watch(1)).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
  });

  test('does not talk to a CSP in the place of its service provider', async () => {
    const tls = await deployment.tls(identity('gateway'));
    const connection = deployment.connectWith('sp', deployment.servers.cspAddress, tls);
    const gateway = await HandMadeGateway.create(connection, await deployment.bcp(), PATIENT);
    const error: unknown = await gateway.enrol().catch((thrown: unknown) => thrown);
    expect(isDuoveilError(error, 'PEER_UNAVAILABLE') && error.message).toMatch(
      /its certificate holds spiffe:\/\/duoveil\.internal\/csp, expected .*\/sp/,
    );
  });
});

describe.each(servers)('the files of the %s', (server) => {
  test('are replaced, and revoke others, while it runs', async () => {
    const { servers: running, authority } = deployment;
    const path = '/duoveil.v1.ParametersService/GetParameters';
    const operator = await deployment.tls(identity('operator'));
    const address = server === 'sp' ? running.address : running.cspAddress;
    const connection = deployment.connectWith(server, address, operator);
    expect(await knock(connection, path)).toBeUndefined();

    const directory = await running.issue(server, identity(server));
    const now = new Date();
    const { serialNumber } = new X509Certificate(operator.certificate);
    const revoked = [{ serialNumber, revokedAt: now }];
    const list = await signRevocationList(authority, { revoked, days: 1, now });
    await writeFile(join(directory, 'ca.crl'), list);
    const from = deployment.log.length;
    running[server].signal('SIGHUP');
    await deployment.logged(/"certificates reloaded"/, from);

    expect(await knock(connection, path)).toMatchObject({ code: status.UNAUTHENTICATED });
    const other = await deployment.connect(server, identity('operator'));
    expect(await knock(other, path)).toBeUndefined();
    const { serialNumber: shown } = await certificateOf(address, operator);
    const inFile = new X509Certificate(await readFile(join(directory, 'tls.crt')));
    expect(shown).toBe(inFile.serialNumber);
  });
});

/** What a server shows on a new connection. */
async function certificateOf(address: string, tls: Tls): Promise<PeerCertificate> {
  const { ca, certificate: cert, key } = tls;
  const [host, port] = address.split(':');
  const socket = tlsConnect({
    ...{ host, port: Number(port), servername: '' },
    ...{ ca, cert, key: key.reveal(), ALPNProtocols: ['h2'] },
  });
  await once(socket, 'secureConnect');
  const shown = socket.getPeerCertificate();
  socket.destroy();
  return shown;
}

describe('a server with the certificate of the other', () => {
  test.each(servers)('refuses to start: %s', async (server) => {
    const wrong = server === 'sp' ? 'csp' : 'sp';
    const { directory, passphrase, servers: running } = deployment;
    const options = {
      csp: ['--state', running.cspState],
      sp: [
        ...['--csp', running.cspAddress, '--parameters-digest', running.digest],
        ...['--database', join(directory, 'another.db')],
      ],
    };
    const { code, output, log } = await duoveil(
      [server, 'serve', '--tls', join(directory, wrong, 'tls'), ...options[server]],
      { environment: { DUOVEIL_PASSPHRASE: passphrase } },
    );
    expect(log).toEqual([
      expect.stringMatching(
        `^duoveil: tls.certificate: .* is that of .*/${wrong}, which is no ${server} `,
      ),
    ]);
    expect({ code, output }).toEqual({ code: 2, output: [] });
  });
});
