import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { parsePostgresUrl } from './postgres-url.js';

let directory: string;
let ca: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-url-'));
  ca = join(directory, 'ca.crt');
  await writeFile(ca, 'a certificate');
});
afterAll(() => rm(directory, { recursive: true }));

describe('the URL of a PostgreSQL', () => {
  it('verifies certificates unless it says otherwise', () => {
    expect(parsePostgresUrl('postgres://sp@db.example:5433/ward')).toEqual({
      host: 'db.example',
      port: 5433,
      user: 'sp',
      database: 'ward',
      ssl: {},
    });
    const url = `postgresql://sp@db.example/ward?sslmode=verify-full&sslrootcert=${ca}`;
    expect(parsePostgresUrl(url)).toMatchObject({ port: 5432, ssl: { ca: 'a certificate' } });
    expect(parsePostgresUrl('postgres://sp@[::1]/ward?sslmode=disable')).toMatchObject({
      host: '::1',
      ssl: false,
    });
  });

  it('may name the directory of a Unix socket', () => {
    expect(parsePostgresUrl('postgres://a%20b@localhost/ward?host=%2Frun%2Fpg')).toMatchObject({
      host: '/run/pg',
      user: 'a b',
      ssl: false,
    });
  });

  it.each([
    ['nonsense', 'must have the form'],
    ['http://sp@db/ward', 'must have the form'],
    ['postgres://db/ward', 'must name a user'],
    ['postgres://sp@db', 'must name a user and a database'],
    ['postgres://sp:hunter2@db/ward', '--database-password-file'],
    ['postgres://sp@db/ward?sslmode=require', 'sslmode=verify-full'],
    ['postgres://sp@db/ward?sslmode=no-verify', 'sslmode=verify-full'],
    ['postgres://sp@db/ward?password=hunter2', 'knows the parameters'],
    ['postgres://sp@db/ward?sslrootcert=/not/there', 'not readable (ENOENT)'],
  ])('%s is refused, and not repeated', (text, why) => {
    let refusal: unknown;
    try {
      parsePostgresUrl(text);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({ code: 'OPTION_INVALID' });
    expect(String(refusal)).toContain(why);
    expect(String(refusal)).not.toContain('hunter2');
  });
});
