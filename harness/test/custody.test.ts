/** A CSP whose keys are dropped and brought back: what it refuses, what it says of itself, what is lost (nothing). */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { callUnary, connect, parsePatientId } from '@duoveil/common/runtime';
import type { Connection, PatientId } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { CustodyServiceService, ParametersServiceService } from '@duoveil/proto';
import { Metadata } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { verifyAuditLog } from '../../csp/src/audit/audit-log.js';
import { cspInitSettings } from '../../csp/src/config.js';
import * as commands from '../../csp/src/custody-commands.js';
import { init } from '../../csp/src/init.js';
import { Observed } from '../src/parties/observed.js';
import type { Recording } from '../src/recordings.js';
import { simulate, toCsv } from '../src/simulation/index.js';
import { Deployment, identity, PATIENT } from './support/deployment.js';
import { duoveil, PACKED, readResults, scratch } from './support/duoveil.js';
import { exactly, expectRows } from './support/recordings.js';
import { newKeyFile } from './support/sealing.js';

const require = createRequire(import.meta.url);
const programme = require.resolve('@duoveil/gateway/main');

const soon = { deadlineMs: 60_000 };
const { getCustody, seal, rotate, retire } = CustodyServiceService;
const sealed = { code: 'CSP_SEALED' };

let deployment: Deployment;
beforeEach(async () => {
  deployment = await Deployment.prepare();
});
afterEach(() => deployment.close());

/** What the standard health service says of a service; of the whole server with `''`. */
function health({ client }: Connection, service: string): Promise<'SERVING' | 'NOT_SERVING'> {
  const same = (bytes: Buffer): Buffer => bytes;
  const name = Buffer.from(service);
  const request = name.length === 0 ? name : Buffer.from([0x0a, name.length, ...name]);
  const options = { deadline: Date.now() + 60_000 };
  const path = '/grpc.health.v1.Health/Check';
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, request, new Metadata(), options, (error, answer) => {
      if (error !== null) reject(error);
      else resolve(answer?.[1] === 1 ? 'SERVING' : 'NOT_SERVING');
    });
  });
}

/** As far as custodians see it. */
async function state(connection: Connection) {
  const { custody } = await callUnary(connection, getCustody, {}, soon);
  const unsealed = custody?.unsealed;
  return { unsealed, generations: custody?.generations.length };
}

describe('a CSP that is started without what unseals it', () => {
  test('says that it is not ready, refuses every protocol, and serves once it is unsealed', async () => {
    const { servers } = deployment;
    await servers.startCsp({ sealed: true });
    const sp = await deployment.connect('csp', identity('sp'));
    const auditor = await deployment.connect('csp', identity('auditor'));
    const parameters = () => callUnary(sp, ParametersServiceService.getParameters, {}, soon);
    const packed = 'duoveil.v1.PackedService';

    expect(await state(auditor)).toEqual({ unsealed: false, generations: 1 });
    for (const service of ['', packed]) expect(await health(sp, service)).toBe('NOT_SERVING');
    expect(await health(sp, 'duoveil.v1.CustodyService')).toBe('SERVING');
    await expect(parameters()).rejects.toMatchObject(sealed);

    // A service provider that is started meanwhile waits.
    const waiting = servers.startSp();
    await deployment.logged(/CSP_SEALED.*the CSP does not answer yet/);
    await deployment.unseal();
    await waiting;
    for (const service of ['', packed]) expect(await health(sp, service)).toBe('SERVING');
    expect((await parameters()).parameters?.modulus).toHaveLength(64);
    expect(await state(auditor)).toEqual({ unsealed: true, generations: 1 });

    // Node.js would open a debugger, to which the keys lie open.
    process.kill(servers.csp.pid ?? 0, 'SIGUSR1');
    await deployment.logged(/SIGUSR1 was ignored/);
    expect(deployment.log.join('\n')).not.toContain('Debugger');
  });
});

test('a CSP does not start on the state directory of another one, until that is gone', async () => {
  const { servers } = deployment;
  await servers.startCsp();
  const tls = await servers.issue('another', identity('csp'));
  const serve = ['csp', 'serve', '--state', servers.cspState, '--tls', tls];
  const refused = await duoveil([...serve, '--insecure-key-bits']);
  expect(refused.code).toBe(1);
  expect(refused.log.join('\n')).toMatch(/is another CSP running on it\?.*STORAGE_FAILED/);
  // Killed, it cannot give the directory back: the system does.
  servers.csp.kill();
  const before = deployment.log.length;
  await deployment.logged(/unsealed/, before);
});

const CONFIGURATION = { window: 8, baseline: 'rolling', retrainEvery: 4 } as const;

/** A simulated recording, in the deployment's directory. */
function simulated(rows: number): Recording {
  const path = join(deployment.directory, 'recording.csv');
  writeFileSync(path, toCsv(simulate({ seed: 5, rows, scenario: 'deterioration' })));
  return { id: 'simulated', path };
}

/** Enrol a patient at a service provider, and begin to stream. */
async function streaming(
  { path }: Recording,
  patient: PatientId,
  sp: string,
  digest: string,
): Promise<Observed> {
  const { servers, directory } = deployment;
  const tls = await servers.issueGateway(patient);
  const own = join(directory, `gateway-${patient}`);
  const at = ['--sp', sp, '--tls', tls, '--state', join(own, 'state'), ...newKeyFile(own)];
  const enrolment = new Observed({
    programme,
    arguments: [
      ...['enrol', ...at, '--parameters-digest', digest, '--insecure-key-bits'],
      ...['--window', '8', '--baseline', 'rolling', '--retrain-every', '4', ...PACKED],
      ...['--quantile', '0.975'],
    ],
  });
  expect(await enrolment.ended).toMatchObject({ code: 0 });
  return new Observed({ programme, arguments: ['stream', ...at, '--input', path, '--json'] });
}

async function expectRight(stream: Observed, recording: Recording): Promise<void> {
  expect(await stream.ended).toMatchObject({ code: 0 });
  expectRows(readResults(stream.output).rows, exactly(recording, CONFIGURATION));
}

describe('a CSP that is sealed in the middle of a stream', () => {
  test('lets no sample be lost: every row is decided on once, and right', async () => {
    const { servers } = deployment;
    await servers.startCsp();
    await servers.startSp();
    // Long enough for the stream to be under way when the keys go.
    const recording = simulated(120);
    const custodian = await deployment.connect('csp', identity('custodian'));
    expect(await state(custodian)).toMatchObject({ unsealed: true });
    const stream = await streaming(recording, PATIENT, servers.address, servers.digest);
    await stream.until(() => stream.output.length > CONFIGURATION.window + 2);
    const before = deployment.log.length;
    expect((await callUnary(custodian, seal, {}, soon)).custody?.unsealed).toBe(false);
    await deployment.logged(/CSP_SEALED.*call failed/, before);
    await deployment.unseal();
    await expectRight(stream, recording);
    await servers.stop();
    const text = readFileSync(join(servers.cspState, 'audit.log'), 'utf8');
    expect(text).toMatch(/"method":"Seal","by":"spiffe:.*\/custodian\/patient-1"/);
    expect((await verifyAuditLog(join(servers.cspState, 'audit.log'))).sequence).toBe(5);
  });
});

describe('a CSP whose keys are rotated', () => {
  test('serves each service provider by the generation that it pins, until that is retired', async () => {
    const { servers, directory } = deployment;
    await servers.startCsp();
    await servers.startSp();
    const recording = simulated(24);
    const custodian = await deployment.connect('csp', identity('custodian'));
    const first = await streaming(recording, PATIENT, servers.address, servers.digest);
    await first.until(() => first.output.length > CONFIGURATION.window);
    const { custody } = await callUnary(custodian, rotate, {}, soon);
    const digest = custody?.generations.at(-1)?.parametersDigest.toString('hex') ?? '';

    const other = new Observed({
      programme: require.resolve('@duoveil/service-provider/main'),
      arguments: [
        ...['serve', '--tls', join(directory, 'sp', 'tls'), '--csp', servers.cspAddress],
        ...['--parameters-digest', digest, '--insecure-key-bits'],
        ...['--database', join(directory, 'other.db')],
      ],
    });
    try {
      await other.until(() => other.log.some((line) => line.includes('"listening"')));
      const address = /"address":"([^"]+)"/.exec(other.log.join('\n'))?.[1] ?? '';
      const patient = parsePatientId('patient-2', 'patient');
      const second = await streaming(recording, patient, address, digest);
      await expectRight(first, recording);
      await expectRight(second, recording);
    } finally {
      await other.dispose();
    }

    const tls = await deployment.tls(identity('sp'));
    const parametersOf = async (parametersDigest: string) => {
      const at = { address: servers.cspAddress, tls, expectRole: 'csp', parametersDigest } as const;
      const connection = connect(at);
      try {
        return await callUnary(connection, ParametersServiceService.getParameters, {}, soon);
      } finally {
        connection.close();
      }
    };
    const [old, young] = [await parametersOf(servers.digest), await parametersOf(digest)];
    expect(old.parameters?.modulus).not.toEqual(young.parameters?.modulus);
    await callUnary(custodian, retire, { generation: 1 }, soon);
    await expect(parametersOf(servers.digest)).rejects.toMatchObject({
      code: 'PARAMETERS_MISMATCH',
    });
    expect(await parametersOf(digest)).toEqual(young);
  });
});

describe('the commands of custodians', () => {
  test('hand out shares, unseal with them, rotate, retire and seal', async () => {
    const directory = scratch();
    const [at, shares] = [join(directory, 'state'), join(directory, 'shares')];
    const settings = { state: at, shares: '2/3', sharesDirectory: shares, keyBits: 512 };
    const made = await init(
      cspInitSettings.parse({ ...settings, insecureKeyBits: true }),
      () => undefined,
    );
    expect(readdirSync(shares)).toEqual([1, 2, 3].map((i) => `share-${i}-of-3.txt`));

    const { servers } = deployment;
    const serving = {
      programme: require.resolve('@duoveil/csp/main'),
      arguments: [
        ...['serve', '--state', at, '--insecure-key-bits'],
        ...['--tls', await servers.issue('csp', identity('csp'))],
      ],
    };
    const hasty = new Observed({ ...serving, environment: { DUOVEIL_PASSPHRASE: 'a guess' } });
    expect(await hasty.ended).toMatchObject({
      code: 1,
      lastWords: 'duoveil: this does not unseal the CSP [UNSEALING_FAILED]',
    });
    const csp = new Observed(serving);
    try {
      await csp.until(() => csp.log.some((line) => line.includes('sealed: waiting')));
      const running = {
        csp: /"address":"([^"]+)"/.exec(csp.log.join('\n'))?.[1] ?? '',
        tls: await servers.issue('custodian', identity('custodian')),
      };
      const share = (i: number) => ({
        share: new Secret(readFileSync(join(shares, `share-${i}-of-3.txt`), 'utf8')),
      });
      expect(await commands.status(running)).toMatch(/^sealed\n/);
      expect(await commands.unseal({ ...running, ...share(3) })).toMatch(
        /^sealed\n.* 1 of 2 given \(3\)\n/,
      );
      const wrong = { passphrase: new Secret('a guess') };
      await expect(commands.unseal({ ...running, ...wrong })).rejects.toMatchObject({
        code: 'UNSEALING_FAILED',
      });
      expect(await commands.unseal({ ...running, ...share(1) })).toMatch(/^unsealed\n/);
      const digest = /([0-9a-f]{64})\n$/.exec(await commands.rotate(running))?.[1] ?? '';
      expect(digest).not.toBe(made.digest);
      const retired = await commands.retire({ ...running, generation: 1 });
      expect(retired).toMatch(new RegExp(`generation 1: .* retired .* ${made.digest}\n`));
      expect(retired).toMatch(new RegExp(`generation 2: .* in service, .* ${digest}\n`));
      expect(await commands.sealKeys(running)).toMatch(/^sealed\n/);
    } finally {
      await csp.dispose();
    }
  });
});
