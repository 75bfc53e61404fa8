/**
 * Sign-in at an identity provider: OpenID Connect's authorization code flow with PKCE, state and nonce.
 * The ID token's signature, issuer, audience, times and nonce are checked; its claims say who it is and,
 * by the deployment's own mapping, which role they have.
 */
import { duoveilError } from '@duoveil/common/errors';
import type { RandomSource } from '@duoveil/common/random';
import type { Clock } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';
import * as client from 'openid-client';
import { z } from 'zod';

import { operatorName } from './operators.js';
import { highest, type OperatorRole } from './roles.js';
import type { SealedText } from './sealed-text.js';

/** How long somebody may take at the identity provider, in milliseconds. */
export const TRANSACTION_MS = 10 * 60_000;
/** How long the identity provider may take to answer us, in seconds. */
const TIMEOUT_S = 5;
/** By how much its clock may differ from ours, in seconds. */
const TOLERANCE_S = 30;
/** Random bytes of the state, the nonce and the verifier each. */
const RANDOM_BYTES = 32;

/** Which identity provider, and what its claims mean. */
export interface OidcOptions {
  readonly issuer: URL;
  readonly clientId: string;
  /** A public client has none. */
  readonly clientSecret: Secret<string> | undefined;
  /** Where the identity provider sends browsers back to, as it knows it. */
  readonly redirectUri: string;
  /** The claim that names the operator. */
  readonly nameClaim: string;
  /** The claim that holds what `roles` maps; dots go into objects. */
  readonly roleClaim: string;
  readonly roles: ReadonlyMap<string, OperatorRole>;
  readonly sealed: SealedText;
  readonly clock: Clock;
  readonly random: RandomSource;
}

const transactionSchema = z.strictObject({
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  startedAt: z.int(),
});

/** Somewhere that operators sign in, and that vouches for them. */
export interface IdentityProvider {
  /** What the sign-in page calls it. */
  readonly name: string;
  /**
   * @returns where to send the browser, and a cookie that it has to bring back
   * @throws DuoveilError `PEER_UNAVAILABLE`
   */
  begin(): Promise<{ readonly url: URL; readonly cookie: string }>;
  /**
   * Somebody has come back.
   * @param query what the identity provider sends, with the question mark
   * @throws DuoveilError `SIGN_IN_FAILED`, `PERMISSION_DENIED` without a role here, `PEER_UNAVAILABLE`
   */
  finish(
    query: string,
    cookie: string | undefined,
  ): Promise<{ readonly name: string; readonly role: OperatorRole }>;
}

/** See the file's comment. */
export class Oidc implements IdentityProvider {
  readonly #options: OidcOptions;
  #configuration: Promise<client.Configuration> | undefined;

  constructor(options: OidcOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.issuer.host;
  }

  async begin(): Promise<{ readonly url: URL; readonly cookie: string }> {
    const configuration = await this.#discover();
    const { random, redirectUri, sealed, clock } = this.#options;
    const draw = (): string => Buffer.from(random.bytes(RANDOM_BYTES)).toString('base64url');
    const transaction = { state: draw(), nonce: draw(), verifier: draw() };
    const url = client.buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: 'openid profile',
      state: transaction.state,
      nonce: transaction.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(transaction.verifier),
      code_challenge_method: 'S256',
    });
    const startedAt = clock.now().getTime();
    return { url, cookie: sealed.close({ ...transaction, startedAt }) };
  }

  async finish(
    query: string,
    cookie: string | undefined,
  ): Promise<{ readonly name: string; readonly role: OperatorRole }> {
    const { sealed, clock, redirectUri } = this.#options;
    const opened = transactionSchema.safeParse(cookie === undefined ? {} : sealed.open(cookie));
    if (!opened.success || clock.now().getTime() > opened.data.startedAt + TRANSACTION_MS) {
      throw duoveilError('SIGN_IN_FAILED', 'this sign-in was not begun here, or too long ago');
    }
    const { state, nonce, verifier } = opened.data;
    const configuration = await this.#discover();
    const tokens = await answerOf(this.#options.issuer, () =>
      client.authorizationCodeGrant(configuration, new URL(query, redirectUri), {
        pkceCodeVerifier: verifier,
        expectedState: state,
        expectedNonce: nonce,
        idTokenExpected: true,
      }),
    );
    return this.#operatorOf(tokens.claims() ?? {});
  }

  #operatorOf(claims: Readonly<Record<string, unknown>>): { name: string; role: OperatorRole } {
    const { nameClaim, roleClaim, roles } = this.#options;
    const name = operatorName.safeParse(claimOf(claims, nameClaim));
    if (!name.success) {
      throw duoveilError('SIGN_IN_FAILED', `the claim ${nameClaim} holds no name for an operator`);
    }
    const held = [claimOf(claims, roleClaim)].flat();
    const role = highest(
      held.flatMap((value) => (typeof value === 'string' ? (roles.get(value) ?? []) : [])),
    );
    if (role !== undefined) return { name: name.data, role };
    throw duoveilError(
      'PERMISSION_DENIED',
      `the claim ${roleClaim} gives ${name.data} no role here`,
    );
  }

  /** Asked for when it is needed, and again where it failed: it may be down when we start. */
  #discover(): Promise<client.Configuration> {
    this.#configuration ??= this.#ask().catch((error: unknown) => {
      this.#configuration = undefined;
      throw error;
    });
    return this.#configuration;
  }

  async #ask(): Promise<client.Configuration> {
    const { issuer, clientId, clientSecret } = this.#options;
    // Plain HTTP for loopback only: the settings refuse it elsewhere.
    const execute = [client.enableNonRepudiationChecks];
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- so that it stands out: it does
    if (issuer.protocol === 'http:') execute.unshift(client.allowInsecureRequests);
    return answerOf(issuer, () =>
      client.discovery(
        issuer,
        clientId,
        { [client.clockTolerance]: TOLERANCE_S },
        clientSecret === undefined
          ? client.None()
          : client.ClientSecretBasic(clientSecret.reveal()),
        { execute, timeout: TIMEOUT_S },
      ),
    );
  }
}

/** A claim by its name, or by the names on the way to it. */
function claimOf(claims: unknown, name: string): unknown {
  if (typeof claims !== 'object' || claims === null) return undefined;
  if (Object.hasOwn(claims, name)) return (claims as Record<string, unknown>)[name];
  const dot = name.indexOf('.');
  if (dot < 0 || !Object.hasOwn(claims, name.slice(0, dot))) return undefined;
  return claimOf((claims as Record<string, unknown>)[name.slice(0, dot)], name.slice(dot + 1));
}

/** What the library throws may carry tokens: only what it says of itself goes on. */
async function answerOf<T>(issuer: URL, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const cause = new Error(error instanceof Error ? error.message : 'failed');
    if (isUnanswered(error)) {
      const peer = `the identity provider ${issuer.host}`;
      throw duoveilError('PEER_UNAVAILABLE', `${peer} does not answer`, { peer }, { cause });
    }
    throw duoveilError(
      'SIGN_IN_FAILED',
      `the answer of ${issuer.host} does not prove who you are: sign in again`,
      {},
      { cause },
    );
  }
}

/** No connection, no time left, or the identity provider's own failure. */
function isUnanswered(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === 'TimeoutError' || error.message === 'fetch failed') return true;
  const code = 'code' in error ? error.code : undefined;
  if (code === 'OAUTH_TIMEOUT') return true;
  return error.cause instanceof Response && error.cause.status >= 500;
}
