import { Secret } from '@duoveil/common/secret';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';

import { httpOptions, httpSettings, type HttpSettings } from './settings.js';

const schema = z.strictObject(httpSettings);
const resolve = (given: Partial<HttpSettings>) =>
  httpOptions({ ...schema.parse({ ...given }), tlsReloadMs: 10_000 });

const LOOPBACK = { httpListen: '127.0.0.1:7003', httpOperatorsFile: 'operators.yaml' };
const OIDC = { oidcIssuer: 'https://id.example.org/realm', oidcClientId: 'duoveil' };

test('without --http-listen there is no HTTP server', () => {
  expect(resolve({ httpOperatorsFile: 'operators.yaml' })).toBeUndefined();
});

test.each<[what: string, given: Partial<HttpSettings>]>([
  ['plain HTTP on loopback', LOOPBACK],
  ['on loopback of IPv6', { ...LOOPBACK, httpListen: '[::1]:0' }],
  ['TLS anywhere', { ...LOOPBACK, httpListen: '0.0.0.0:443', httpTls: 'tls' }],
  [
    'plain HTTP behind a proxy that ends TLS',
    {
      ...{ ...LOOPBACK, httpListen: '0.0.0.0:80', httpBehindProxy: true },
      httpPublicUrl: 'https://duoveil.example.org',
    },
  ],
  ['an identity provider alone', { httpListen: '127.0.0.1:0', ...OIDC }],
  ['one on loopback', { httpListen: '127.0.0.1:0', ...OIDC, oidcIssuer: 'http://127.0.0.1:9/x' }],
])('accepts %s', (_what, given) => {
  expect(resolve(given)).toBeDefined();
});

test.each<[why: string, given: Partial<HttpSettings>]>([
  ['--http-listen: plain HTTP is for loopback only', { ...LOOPBACK, httpListen: '0.0.0.0:80' }],
  ['--http-listen: plain HTTP is for loopback only', { ...LOOPBACK, httpListen: '[::]:80' }],
  [
    '--http-listen: plain HTTP is for loopback only',
    { ...LOOPBACK, httpListen: '127.example.org:80' },
  ],
  ['--http-behind-proxy: needs --http-public-url', { ...LOOPBACK, httpBehindProxy: true }],
  [
    '--http-behind-proxy: needs --http-public-url, with https',
    { ...LOOPBACK, httpBehindProxy: true, httpPublicUrl: 'http://duoveil.example.org' },
  ],
  ['nobody could sign in', { httpListen: '127.0.0.1:0' }],
  ['--oidc-client-id: is needed', { ...LOOPBACK, oidcIssuer: OIDC.oidcIssuer }],
  ['--oidc-issuer: must be https', { ...LOOPBACK, ...OIDC, oidcIssuer: 'http://id.example.org' }],
  ['--oidc-roles: must be like', { ...LOOPBACK, ...OIDC, oidcRoles: 'ward' }],
  ['--oidc-roles: must be like', { ...LOOPBACK, ...OIDC, oidcRoles: 'ward=king' }],
  ['--oidc-roles: must be like', { ...LOOPBACK, ...OIDC, oidcRoles: '=viewer' }],
])('refuses with: %s', (why, given) => {
  expect(() => resolve(given)).toThrow(why);
});

describe('what an identity provider says', () => {
  test('gives roles as the settings have it', () => {
    const secret = new Secret('hush');
    const options = resolve({
      ...{ ...LOOPBACK, ...OIDC, oidcClientSecret: secret, oidcRoleClaim: 'realm_access.roles' },
      oidcRoles: 'ward=viewer, a=b=admin',
    });
    expect(options?.oidc).toMatchObject({
      ...{ clientId: 'duoveil', roleClaim: 'realm_access.roles', nameClaim: 'preferred_username' },
      clientSecret: secret,
    });
    expect([...(options?.oidc?.roles ?? [])]).toEqual([
      ['ward', 'viewer'],
      ['a=b', 'admin'],
    ]);
  });
});
