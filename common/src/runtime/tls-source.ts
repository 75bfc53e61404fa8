/** TLS material that may be replaced while it is in use. */
import type { Tls } from './tls.js';

/** Where servers and connections take their TLS material from. */
export interface TlsSource {
  /** What is in force now. */
  readonly current: Tls;
  /**
   * Has the listener called with each replacement.
   * @returns how to end that
   */
  subscribe(listener: (tls: Tls) => void): () => void;
}

/** Either kind as a source: material that stands for itself never changes. */
export function tlsSource(tls: Tls | TlsSource): TlsSource {
  return 'current' in tls ? tls : { current: tls, subscribe: () => () => undefined };
}
