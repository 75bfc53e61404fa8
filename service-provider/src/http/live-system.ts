/** The report of a service provider that runs: from its metrics, its certificates and its CSP. */
import { createRequire } from 'node:module';

import type { ParametersDigest } from '@duoveil/common/bcp';
import { toDuoveilError } from '@duoveil/common/errors';
import { callUnary, metrics, type Clock, type Connection } from '@duoveil/common/runtime';
import { CustodyServiceService, type Custody } from '@duoveil/proto';

import { Recent } from './recent.js';
import type { CspReport, SpReport, SystemReport, SystemSource } from './system.js';

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

/** How long the CSP may take to answer, in milliseconds. */
const DEADLINE_MS = 2_000;
/** It is not asked more often than this, however many look. */
const ASK_EVERY_MS = 1_000;

/** What the report is made from. */
export interface LiveSystemOptions {
  readonly csp: Connection;
  /** Of the parameters that this service provider works with. */
  readonly parametersDigest: ParametersDigest;
  readonly isReady: () => boolean;
  readonly certificateValidTo: () => Date;
  /** Undefined for plain HTTP. */
  readonly httpValidTo: () => Date | undefined;
  readonly clock: Clock;
}

/** See the file's comment. */
export class LiveSystem implements SystemSource {
  readonly #options: LiveSystemOptions;
  readonly #decisions: Recent;
  readonly #scores: Recent;
  readonly #startedMs: number;
  readonly #ends: readonly (() => void)[];
  #asked: { readonly atMs: number; readonly report: Promise<CspReport> } | undefined;

  constructor(options: LiveSystemOptions) {
    const { clock } = options;
    this.#options = options;
    this.#decisions = new Recent(clock);
    this.#scores = new Recent(clock);
    this.#startedMs = clock.monotonicMs();
    this.#ends = [
      metrics.decisionDelay.watch((seconds) => {
        this.#decisions.add(seconds * 1000);
      }),
      metrics.scores.watch((seconds) => {
        this.#scores.add(seconds * 1000);
      }),
    ];
  }

  async report(): Promise<SystemReport> {
    return { sp: this.#sp(), csp: await this.#csp() };
  }

  /** Follows the metrics no more. */
  close(): void {
    for (const end of this.#ends) end();
  }

  #sp(): SpReport {
    const { isReady, certificateValidTo, httpValidTo, clock } = this.#options;
    return {
      ready: isReady(),
      version,
      uptimeSeconds: (clock.monotonicMs() - this.#startedMs) / 1000,
      patients: metrics.patients.read(),
      pending: metrics.pending.read(),
      lagMs: metrics.lag.read() * 1000,
      decisionsPerSecond: this.#decisions.perSecond(),
      decisionMs: this.#decisions.quantiles(),
      scoreMs: this.#scores.quantiles(),
      listeners: metrics.httpListeners.read(),
      certificateExpiresAt: certificateValidTo().toISOString(),
      httpCertificateExpiresAt: httpValidTo()?.toISOString() ?? null,
    };
  }

  #csp(): Promise<CspReport> {
    const now = this.#options.clock.monotonicMs();
    if (this.#asked === undefined || now - this.#asked.atMs >= ASK_EVERY_MS) {
      this.#asked = { atMs: now, report: this.#ask() };
    }
    return this.#asked.report;
  }

  async #ask(): Promise<CspReport> {
    const { csp, clock } = this.#options;
    const startedMs = clock.monotonicMs();
    try {
      const { custody } = await callUnary(
        csp,
        CustodyServiceService.getCustody,
        {},
        { deadlineMs: DEADLINE_MS },
      );
      return this.#reached(custody, clock.monotonicMs() - startedMs);
    } catch (error) {
      return {
        ...{ reachable: false, state: 'unreachable', problem: toDuoveilError(error).code },
        ...{ roundTripMs: null, certificateExpiresAt: this.#cspValidTo() },
        ...{ keyGenerations: [], keyGenerationInUse: null },
      };
    }
  }

  #reached(custody: Custody | undefined, roundTripMs: number): CspReport {
    const generations = custody?.generations ?? [];
    const inUse = generations.find(
      ({ parametersDigest }) => parametersDigest.toString('hex') === this.#options.parametersDigest,
    );
    return {
      ...{ reachable: true, state: custody?.unsealed === true ? 'ready' : 'sealed', problem: null },
      ...{ roundTripMs, certificateExpiresAt: this.#cspValidTo() },
      keyGenerations: generations
        .filter(({ retiredAt }) => retiredAt === 0n)
        .map(({ number }) => number),
      keyGenerationInUse: inUse?.number ?? null,
    };
  }

  #cspValidTo(): string | null {
    return this.#options.csp.peerValidTo?.toISOString() ?? null;
  }
}
