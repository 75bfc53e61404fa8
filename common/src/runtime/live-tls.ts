/**
 * A party's TLS files, looked at again and again: replaced certificates, keys and revocation lists come
 * into force without a restart, and a certificate that is about to expire is warned about.
 */
import { createHash } from 'node:crypto';
import { credentialFiles } from './certificates.js';
import type { CredentialFiles } from './certificates.js';
import { systemClock } from './clock.js';
import type { Clock } from './clock.js';
import { formatIdentity } from './identity.js';
import type { Identity, Role } from './identity.js';
import { LiveReading } from './live-reading.js';
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
  #warnedAt = -Infinity;
  readonly #reading: LiveReading<TlsMaterial>;
  readonly #unobserve: () => void;

  private constructor(
    options: LiveTlsOptions<R>,
    files: CredentialFiles,
    material: TlsMaterial,
    tls: Tls,
  ) {
    this.#files = files;
    this.#role = options.role;
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#warningMs = (options.expiryWarningDays ?? 14) * dayMs;
    this.#current = tls;
    this.#reading = this.#read(options, material);
    this.#unobserve = this.#observe();
    this.#warnOfExpiry();
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
    return new LiveTls(options, files, material, tls);
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
   * @param asked as {@link LiveReading.look} says
   */
  reload(asked = false): Promise<void> {
    return this.#reading.look(asked);
  }

  /** Looks no more. */
  close(): void {
    this.#reading.close();
    this.#unobserve();
  }

  #read(
    { reloadMs = 10_000, onHangUp = false }: LiveTlsOptions<R>,
    inForce: TlsMaterial,
  ): LiveReading<TlsMaterial> {
    return new LiveReading(
      {
        read: () => readTlsFiles(this.#files),
        digestOf,
        accept: (material) => this.#accept(material),
        refuse: (error) => {
          this.#logger.warn('the TLS files cannot be used; those in force stay so', { error });
        },
        looked: () => {
          this.#warnOfExpiry();
        },
        reloadMs,
        onHangUp,
      },
      inForce,
    );
  }

  async #accept(material: TlsMaterial): Promise<void> {
    const tls = await parseTls(material, this.#files, this.#clock);
    requireRole(tls, this.#role, this.#files);
    requireIdentity(tls, this.#current.identity, this.#files);
    requireListKept(tls, this.#current, this.#files);
    this.#current = tls;
    for (const listener of [...this.#listeners]) listener(tls);
    this.#warnedAt = -Infinity;
    this.#logger.info('certificates reloaded', {
      identity: formatIdentity(tls.identity),
      validTo: tls.validTo.toISOString(),
      revoked: tls.revoked.size,
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

  #observe(): () => void {
    return metrics.certificateExpiry.observe((report) => {
      const { validTo, caValidTo, revoked } = this.#current;
      const ends = { party: validTo, authority: caValidTo, revocation_list: revoked.nextUpdate };
      for (const [certificate, at] of Object.entries(ends)) {
        if (at === undefined) continue;
        const seconds = (at.getTime() - this.#clock.now().getTime()) / 1000;
        report(seconds, { 'duoveil.certificate': certificate });
      }
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
