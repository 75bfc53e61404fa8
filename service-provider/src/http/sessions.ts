/**
 * Who is signed in. A session is a sealed cookie and nothing else: any replica on the same database
 * opens it. It ends after eight hours, after half an hour without a call, and as soon as the operators'
 * file has no such token any more.
 */
import { timingSafeEqual } from 'node:crypto';

import type { RandomSource } from '@duoveil/common/random';
import type { Clock } from '@duoveil/common/runtime';
import { z } from 'zod';

import { operatorName, type TokenOperators } from './operators.js';
import { operatorRoles, type OperatorRole } from './roles.js';
import type { SealedText } from './sealed-text.js';

/** A session lasts at most this long, in milliseconds. */
export const SESSION_MS = 8 * 3_600_000;
/** Without a call it lasts this long. */
export const IDLE_MS = 30 * 60_000;
/** The cookie is written anew with the first call after this long. */
const RENEW_MS = 60_000;
/** Random bytes of a session's identifier, and of its CSRF token. */
const ID_BYTES = 16;

const sealedSchema = z.strictObject({
  id: z.string(),
  name: operatorName,
  role: z.enum(operatorRoles),
  /** Of the token that it was begun with; absent where an identity provider vouched. */
  tokenSha256: z.string().optional(),
  csrfToken: z.string(),
  startedAt: z.int(),
  seenAt: z.int(),
});

/** Somebody who is signed in. Times in milliseconds since 1970. */
export type Session = Readonly<z.output<typeof sealedSchema>>;

/** What sessions are opened with. */
export interface SessionsOptions {
  readonly sealed: SealedText;
  /** Asked anew with every call. */
  readonly operators: () => TokenOperators | undefined;
  readonly clock: Clock;
  readonly random: RandomSource;
}

/** See the file's comment. */
export class Sessions {
  readonly #options: SessionsOptions;
  /** Sessions that were ended here, and until when their cookies would still open. */
  readonly #ended = new Map<string, number>();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** Begins a session of somebody who has shown who they are. */
  begin(who: {
    readonly name: string;
    readonly role: OperatorRole;
    readonly tokenSha256?: string;
  }): Session {
    const now = this.#now();
    const draw = (): string => Buffer.from(this.#options.random.bytes(ID_BYTES)).toString('hex');
    return { id: draw(), csrfToken: draw(), ...who, startedAt: now, seenAt: now };
  }

  /** The cookie's value. */
  seal(session: Session): string {
    return this.#options.sealed.close(session);
  }

  /** The session of a cookie; undefined where it is none of ours, or is over. */
  open(cookie: string): Session | undefined {
    const parsed = sealedSchema.safeParse(this.#options.sealed.open(cookie));
    return parsed.success ? this.current(parsed.data) : undefined;
  }

  /** The same session with the role that its operator has now; undefined where it is over. */
  current(session: Session): Session | undefined {
    if (this.#now() >= this.endOf(session) || this.#ended.has(session.id)) return undefined;
    const { tokenSha256 } = session;
    if (tokenSha256 === undefined) return session;
    const operator = this.#options.operators()?.ofHash(tokenSha256);
    if (operator?.name !== session.name) return undefined;
    return { ...session, role: operator.role };
  }

  /** When it is over unless there is another call, in milliseconds since 1970. */
  endOf({ startedAt, seenAt }: Session): number {
    return Math.min(startedAt + SESSION_MS, seenAt + IDLE_MS);
  }

  /** The session as seen now; undefined where its cookie is new enough. */
  renewed(session: Session): Session | undefined {
    const now = this.#now();
    return now - session.seenAt < RENEW_MS ? undefined : { ...session, seenAt: now };
  }

  /** Ends it, for this process; its cookie is the browser's to forget. */
  end(session: Session): void {
    const now = this.#now();
    for (const [id, until] of this.#ended) if (until <= now) this.#ended.delete(id);
    this.#ended.set(session.id, session.startedAt + SESSION_MS);
  }

  #now(): number {
    return this.#options.clock.now().getTime();
  }
}

/** Is this the session's CSRF token? */
export function isCsrfTokenOf(session: Session, offered: unknown): boolean {
  if (typeof offered !== 'string') return false;
  const [expected, given] = [Buffer.from(session.csrfToken), Buffer.from(offered)];
  return expected.length === given.length && timingSafeEqual(expected, given);
}
