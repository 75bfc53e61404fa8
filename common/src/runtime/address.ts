import { isIPv6 } from 'node:net';
import { duoveilError } from '../errors.js';

/** Where a server listens or is reached. */
export interface Address {
  /** A DNS name or an IP address, without brackets. */
  readonly host: string;
  /** 0 to 65535; 0 lets the system choose and is for listening only. */
  readonly port: number;
}

/**
 * Reads `host:port`, or `[address]:port` for IPv6.
 * @param setting the setting it came from, for the error
 * @throws CONFIG_INVALID
 */
export function parseAddress(text: string, setting: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535 || (match?.[1] !== undefined && !isIPv6(host))) {
    throw duoveilError(
      'CONFIG_INVALID',
      `${setting}: must be host:port, for example 127.0.0.1:7001, with a port up to 65535`,
      { path: setting },
    );
  }
  return { host, port };
}

/** An address as `host:port`. */
export function formatAddress({ host, port }: Address): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${String(port)}`;
}
