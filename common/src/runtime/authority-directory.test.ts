import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  issuedCertificates,
  issueFrom,
  revokeFrom,
  serialNumberOf,
} from './authority-directory.js';
import { createAuthority, credentialFiles, readAuthority, writeAuthority } from './certificates.js';
import { identity } from './fixture.js';
import { loadTls } from './tls.js';
import { readRevocationList } from './revocation.js';

const now = new Date();
const list = { days: 30, now };

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-ca-'));
  await writeAuthority(directory, await createAuthority({ commonName: 'a', days: 90, now }));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const issue = (path: string, days = 30): Promise<string> =>
  issueFrom(directory, join(directory, path), { identity: identity(path), hosts: [], days, now });

const theList = async () => {
  const { certificate } = await readAuthority(directory);
  const file = join(directory, 'ca.crl');
  return readRevocationList(await readFile(file), [new X509Certificate(certificate)], file);
};

describe('an authority', () => {
  it.each(['operator/alice', 'auditor/bob', 'custodian/carol', 'gateway/p1'])(
    'issues and notes down a certificate for %s',
    async (path) => {
      const serialNumber = await issue(path);
      const files = credentialFiles(join(directory, path));
      expect((await loadTls(files)).identity).toEqual(identity(path));
      expect(await serialNumberOf(files.certificate)).toBe(serialNumber);
      expect(await issuedCertificates(directory)).toMatchObject([
        { serialNumber, identity: `spiffe://test.internal/${path}`, revokedAt: undefined },
      ]);
    },
  );

  it('takes certificates back one by one, and forgets none', async () => {
    const [first, second, third] = [
      await issue('operator/one'),
      await issue('operator/two', 20),
      await issue('operator/three', 40),
    ];
    expect(await revokeFrom(directory, first, list)).toBe(1);
    expect(await revokeFrom(directory, second, list)).toBe(2);
    // Once more, and a renewal.
    expect(await revokeFrom(directory, first.toUpperCase(), list)).toBe(2);
    expect(await revokeFrom(directory, undefined, { ...list, days: 60 })).toBe(2);
    const revoked = await theList();
    expect([first, second, third].map((serial) => revoked.has(serial))).toEqual([
      true,
      true,
      false,
    ]);
    expect(revoked.nextUpdate?.getTime()).toBeGreaterThan(now.getTime() + 59 * 86_400_000);
    expect(
      (await issuedCertificates(directory)).map(({ serialNumber, revokedAt }) => [
        serialNumber,
        revokedAt !== undefined,
      ]),
    ).toEqual([
      [second, true],
      [first, true],
      [third, false],
    ]);
  });

  it('hands its list out with the certificates that follow', async () => {
    const lost = await issue('operator/one');
    await revokeFrom(directory, lost, list);
    await issue('operator/two');
    const { revoked } = await loadTls(credentialFiles(join(directory, 'operator/two')));
    expect(revoked.has(lost)).toBe(true);
  });

  it('goes on from no list but its own', async () => {
    const other = await mkdtemp(join(tmpdir(), 'duoveil-ca-'));
    try {
      await writeAuthority(other, await createAuthority({ commonName: 'a', days: 90, now }));
      await revokeFrom(other, '01', list);
      await writeFile(join(directory, 'ca.crl'), await readFile(join(other, 'ca.crl')));
      await expect(revokeFrom(directory, '02', list)).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('not a revocation list of this authority') as unknown,
      });
      await expect(theList()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    } finally {
      await rm(other, { recursive: true, force: true });
    }
  });
});
