/**
 * A party's TLS files, looked at again and again: replaced certificates, keys and revocation lists come
 * into force without a restart, and a certificate that is about to expire is warned about.
 */
import { createHash } from 'node:crypto';
import { toDuoveilError } from '../errors.js';
import { credentialFiles } from './certificates.js';
import type { CredentialFiles } from './certificates.js';
import { systemClock } from './clock.js';
import type { Clock } from './clock.js';
import { formatIdentity } from './identity.js';
import type { Identity, Role } from './identity.js';
import type { Logger } from './logging.js';
import { metrics } from './metrics.js';
import { parseTls, readTlsFiles, requireIdentity, requireListKept, requireRole } from './tls.js';
import type { Tls, TlsMaterial } from './tls.js';
import type { TlsSource } from './tls-source.js';

/** How files are watched. */
export interface LiveTlsOptions<R extends Role> {
  /** Directory with `ca.crt`, `tls.crt`, `tls.key` and, if there is one, `ca.crl`. */
  readonly directory: string;
  /** The only role that the certificate may hold. */
  readonly role: R;
  readonly logger: Logger;
  /** How often the files are looked at, in milliseconds; 0 for when asked only. By default 10 s. */
  readonly reloadMs?: number;
  /** Look on SIGHUP, too: for servers, which need not end with a terminal. */
  readonly onHangUp?: boolean;
  /** Warn when fewer than this many days are left; 14 by default. */
  readonly expiryWarningDays?: number;
  readonly clock?: Clock;
}

const dayMs = 86_400_000;

/** See the file's comment. */
export class LiveTls<R extends Role> implements TlsSource {
  readonly #files: CredentialFiles;
  readonly #role: R;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #warningMs: number;
  readonly #listeners = new Set<(tls: Tls) => void>();
  #current: Tls;
  /** Digests of the files that are in force, and of those that were refused last. */
  #accepted: string;
  #refused: string | undefined;
  #refusalWasLogged = false;
  #warnedAt = -Infinity;
  #looking: Promise<void> = Promise.resolve();
  readonly #closers: (() => unknown)[] = [];

  private constructor(
    options: LiveTlsOptions<R>,
    files: CredentialFiles,
    tls: Tls,
    digest: string,
  ) {
    this.#files = files;
    this.#role = options.role;
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#warningMs = (options.expiryWarningDays ?? 14) * dayMs;
    this.#current = tls;
    this.#accepted = digest;
  }

  /**
   * Reads the files, and looks at them again every `reloadMs`.
   * @throws CONFIG_INVALID as `loadTls`, and where the certificate holds another role
   */
  static async open<R extends Role>(options: LiveTlsOptions<R>): Promise<LiveTls<R>> {
    const files = credentialFiles(options.directory);
    const material = await readTlsFiles(files);
    const tls = await parseTls(material, files, options.clock ?? systemClock);
    requireRole(tls, options.role, files);
    const live = new LiveTls(options, files, tls, digestOf(material));
    live.#warnOfExpiry();
    live.#observe();
    live.#watch(options.reloadMs ?? 10_000, options.onHangUp ?? false);
    return live;
  }

  get current(): Tls {
    return this.#current;
  }

  /** Who the party is, for as long as it runs. */
  get identity(): Identity & { readonly role: R } {
    // `open` has required the role, and every replacement the same identity.
    return this.#current.identity as Identity & { readonly role: R };
  }

  subscribe(listener: (tls: Tls) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Looks at the files now. What cannot be used is refused as a whole, and what was in force stays so.
   * @param asked somebody waits for the outcome: files that cannot be used are logged at the first
   * look, not at the second, when they cannot be half written any more
   */
  reload(asked = false): Promise<void> {
    // One look after the other: an older one must not undo a newer one.
    this.#looking = this.#looking.then(() => this.#look(asked));
    return this.#looking;
  }

  /** Looks no more. */
  close(): void {
    for (const close of this.#closers.splice(0)) close();
  }

  async #look(asked: boolean): Promise<void> {
    let digest: string | undefined;
    try {
      const material = await readTlsFiles(this.#files);
      digest = digestOf(material);
      if (digest === this.#accepted) this.#refused = undefined;
      else await this.#accept(material, digest);
    } catch (error) {
      this.#refuse(digest ?? toDuoveilError(error).message, error, asked);
    }
    this.#warnOfExpiry();
  }

  async #accept(material: TlsMaterial, digest: string): Promise<void> {
    const tls = await parseTls(material, this.#files, this.#clock);
    requireRole(tls, this.#role, this.#files);
    requireIdentity(tls, this.#current.identity, this.#files);
    requireListKept(tls, this.#current, this.#files);
    this.#accepted = digest;
    this.#refused = undefined;
    this.#current = tls;
    this.#warnedAt = -Infinity;
    this.#logger.info('certificates reloaded', {
      identity: formatIdentity(tls.identity),
      validTo: tls.validTo.toISOString(),
      revoked: tls.revoked.size,
    });
    for (const listener of [...this.#listeners]) listener(tls);
  }

  #refuse(digest: string, error: unknown, asked: boolean): void {
    const isNew = digest !== this.#refused;
    if (isNew) this.#refusalWasLogged = false;
    this.#refused = digest;
    if (this.#refusalWasLogged || (isNew && !asked)) return;
    this.#refusalWasLogged = true;
    this.#logger.warn('the TLS files cannot be used; those in force stay so', {
      error: toDuoveilError(error),
    });
  }

  /** At the start, after a replacement, and once a day. */
  #warnOfExpiry(): void {
    const now = this.#clock.now().getTime();
    if (now - this.#warnedAt < dayMs) return;
    const { validTo, caValidTo, revoked } = this.#current;
    const ends = {
      certificate: validTo,
      authority: caValidTo,
      'revocation list': revoked.nextUpdate,
    };
    for (const [what, end] of Object.entries(ends)) {
      if (end === undefined || end.getTime() - now >= this.#warningMs) continue;
      this.#warnedAt = now;
      const verb = end.getTime() < now ? 'has expired' : 'is about to expire';
      this.#logger.warn(`the ${what} ${verb}`, { validTo: end.toISOString() });
    }
  }

  #observe(): void {
    const end = metrics.certificateExpiry.observe((report) => {
      const { validTo, caValidTo, revoked } = this.#current;
      const ends = { party: validTo, authority: caValidTo, revocation_list: revoked.nextUpdate };
      for (const [certificate, at] of Object.entries(ends)) {
        if (at === undefined) continue;
        const seconds = (at.getTime() - this.#clock.now().getTime()) / 1000;
        report(seconds, { 'duoveil.certificate': certificate });
      }
    });
    this.#closers.push(end);
  }

  #watch(reloadMs: number, onHangUp: boolean): void {
    if (onHangUp) {
      const look = (): void => {
        void this.reload(true);
      };
      process.on('SIGHUP', look);
      this.#closers.push(() => process.off('SIGHUP', look));
    }
    if (reloadMs === 0) return;
    const timer = setInterval(() => void this.reload(), reloadMs).unref();
    this.#closers.push(() => {
      clearInterval(timer);
    });
  }
}

/** A server's files, watched as its settings say, and on SIGHUP. */
export function openTls<R extends Role>(
  role: R,
  settings: {
    readonly tls: string;
    readonly tlsReloadMs: number;
    readonly tlsWarningDays: number;
  },
  logger: Logger,
): Promise<LiveTls<R>> {
  const { tls: directory, tlsReloadMs: reloadMs, tlsWarningDays: expiryWarningDays } = settings;
  const watched = { directory, reloadMs, expiryWarningDays, onHangUp: true };
  return LiveTls.open({ ...watched, role, logger });
}

function digestOf({ ca, certificate, key, crl }: TlsMaterial): string {
  const hash = createHash('sha256');
  for (const part of [ca, certificate, key.reveal(), crl ?? Buffer.alloc(0)]) {
    hash.update(String(part.length)).update('\0').update(part);
  }
  return hash.digest('hex');
}
