/** Settings of the operators' HTTP server, to be spread into those of the service provider. */
import { duoveilError } from '@duoveil/common/errors';
import { parseAddress, secretSetting, type Address } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';
import { isIP } from 'node:net';
import { z } from 'zod';

import { operatorRoles, type OperatorRole } from './roles.js';

const text = z.string().min(1);

export const httpSettings = {
  httpListen: text
    .optional()
    .describe("host:port for the operators' HTTP API and the dashboard; off by default"),
  httpTls: text
    .optional()
    .describe('directory with the tls.crt and tls.key that browsers see; without it, plain HTTP'),
  httpBehindProxy: z
    .boolean()
    .default(false)
    .describe(
      'one proxy that ends TLS is before it: accept plain HTTP and X-Forwarded-For from it',
    ),
  httpPublicUrl: z
    .url({ protocol: /^https?$/, error: 'must be a URL, as https://duoveil.example.org' })
    .optional()
    .describe('where browsers find it; https://host:port as it listens by default'),
  httpOperatorsFile: text
    .optional()
    .describe('YAML file of the operators who sign in with a token, and their roles'),
  oidcIssuer: z
    .url({ protocol: /^https?$/, error: 'must be the URL of an OpenID Connect issuer' })
    .optional()
    .describe('identity provider at which operators sign in'),
  oidcClientId: text.optional().describe('what that knows this service provider as'),
  oidcClientSecret: secretSetting('file of the secret that goes with it').optional(),
  oidcNameClaim: text
    .default('preferred_username')
    .describe("the ID token's claim that names the operator"),
  oidcRoleClaim: text
    .default('roles')
    .describe("the ID token's claim that --oidc-roles maps; dots go into objects"),
  oidcRoles: text
    .default('duoveil-viewer=viewer,duoveil-operator=operator,duoveil-admin=admin')
    .describe('which value of that claim gives which role: viewer, operator or admin'),
};

/** How {@link httpSettings} come out. */
export type HttpSettings = z.output<z.ZodObject<typeof httpSettings>>;

/** The settings, looked at together. */
export interface HttpOptions {
  readonly listen: Address;
  readonly tlsDirectory: string | undefined;
  readonly behindProxy: boolean;
  readonly publicUrl: URL | undefined;
  readonly operatorsFile: string | undefined;
  readonly oidc: OidcSettings | undefined;
  /** How often files are looked at, in milliseconds; 0 for on SIGHUP only. */
  readonly reloadMs: number;
}

interface OidcSettings {
  readonly issuer: URL;
  readonly clientId: string;
  readonly clientSecret: Secret<string> | undefined;
  readonly nameClaim: string;
  readonly roleClaim: string;
  readonly roles: ReadonlyMap<string, OperatorRole>;
}

/**
 * @returns undefined where there is to be no HTTP server
 * @throws DuoveilError `OPTION_INVALID`, `CONFIG_INVALID` where they do not go together
 */
export function httpOptions(
  settings: HttpSettings & { readonly tlsReloadMs: number },
): HttpOptions | undefined {
  const { httpListen, httpTls, httpBehindProxy, httpPublicUrl, httpOperatorsFile } = settings;
  if (httpListen === undefined) return undefined;
  const listen = parseAddress(httpListen, 'httpListen');
  if (httpTls === undefined && !httpBehindProxy && !isLoopback(listen.host)) {
    throw wrong(
      '--http-listen',
      'plain HTTP is for loopback only: set --http-tls, or --http-behind-proxy where a proxy ends TLS',
    );
  }
  const publicUrl = httpPublicUrl === undefined ? undefined : new URL(httpPublicUrl);
  if (httpBehindProxy && publicUrl?.protocol !== 'https:') {
    throw wrong('--http-behind-proxy', 'needs --http-public-url, with https');
  }
  const oidc = oidcSettings(settings);
  if (httpOperatorsFile === undefined && oidc === undefined) {
    throw wrong(
      '--http-listen',
      'nobody could sign in: set --http-operators-file, --oidc-issuer or both',
    );
  }
  return {
    ...{ listen, tlsDirectory: httpTls, behindProxy: httpBehindProxy, publicUrl },
    ...{ operatorsFile: httpOperatorsFile, oidc, reloadMs: settings.tlsReloadMs },
  };
}

function oidcSettings(settings: HttpSettings): OidcSettings | undefined {
  const { oidcIssuer, oidcClientId, oidcClientSecret, oidcNameClaim, oidcRoleClaim } = settings;
  if (oidcIssuer === undefined) return undefined;
  const issuer = new URL(oidcIssuer);
  if (issuer.protocol === 'http:' && !isLoopback(issuer.hostname)) {
    throw wrong('--oidc-issuer', 'must be https');
  }
  if (oidcClientId === undefined) throw wrong('--oidc-client-id', 'is needed with --oidc-issuer');
  return {
    ...{ issuer, clientId: oidcClientId, clientSecret: oidcClientSecret },
    ...{
      nameClaim: oidcNameClaim,
      roleClaim: oidcRoleClaim,
      roles: parseRoles(settings.oidcRoles),
    },
  };
}

/** `value=role`, comma-separated. */
function parseRoles(given: string): ReadonlyMap<string, OperatorRole> {
  return new Map(
    given.split(',').map((pair) => {
      const at = pair.lastIndexOf('=');
      const role = operatorRoles.find((one) => one === pair.slice(at + 1).trim());
      const value = pair.slice(0, Math.max(at, 0)).trim();
      if (role !== undefined && value !== '') return [value, role];
      throw wrong(
        '--oidc-roles',
        `must be like ward=viewer,charge-nurse=operator; there are ${operatorRoles.join(', ')}`,
      );
    }),
  );
}

function isLoopback(host: string): boolean {
  const plain = host.replace(/^\[|\]$/g, '');
  return (
    plain === 'localhost' || plain === '::1' || (isIP(plain) === 4 && plain.startsWith('127.'))
  );
}

function wrong(option: string, what: string): Error {
  return duoveilError('OPTION_INVALID', `${option}: ${what}`, { option });
}
