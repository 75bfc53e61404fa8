/** What the API says of the two servers. Times are ISO 8601 strings, null where they are not known. */

/** How long something took in the last minutes, in milliseconds; null without any. */
export interface Quantiles {
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}

/** The service provider. */
export interface ProviderState {
  readonly ready: boolean;
  readonly version: string;
  readonly uptimeSeconds: number;
  /** That this replica watches. */
  readonly patients: number;
  /** Samples that wait for a decision. */
  readonly pending: number;
  /** For how long the oldest of those has waited. */
  readonly lagMs: number;
  readonly decisionsPerSecond: number;
  /** From a sample coming in to its decision. */
  readonly decisionMs: Quantiles;
  /** Scores alone, with the crypto service provider. */
  readonly scoreMs: Quantiles;
  /** Pages that are told of changes. */
  readonly listeners: number;
  /** Of the certificate among the parties. */
  readonly certificateExpiresAt: string | null;
  /** Of the one that browsers see; null for plain HTTP. */
  readonly httpCertificateExpiresAt: string | null;
}

/** The crypto service provider, as the service provider sees it. */
export interface CryptoProviderState {
  readonly reachable: boolean;
  readonly state: 'ready' | 'sealed' | 'unreachable';
  /** A stable code where it is unreachable. */
  readonly problem: string | null;
  readonly roundTripMs: number | null;
  readonly certificateExpiresAt: string | null;
  /** That are not retired. */
  readonly keyGenerations: readonly number[];
  /** By this service provider. */
  readonly keyGenerationInUse: number | null;
}

/** Both servers. */
export interface SystemState {
  readonly sp: ProviderState;
  readonly csp: CryptoProviderState;
}
