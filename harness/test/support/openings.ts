/** What a CSP gets to see: every masked value that is sent to it, to be opened by the test itself. */
import { decodeOpenings } from '@duoveil/common/bcp';
import type { Bcp, MaskedOpening } from '@duoveil/common/bcp';
import { MasterDecryption } from '@duoveil/common/master';
import type { MasterKey } from '@duoveil/common/master';
import {
  DivideRequest,
  InvertMatrixRequest,
  MultiplyRequest,
  OpenRequest,
  SubtractRequest,
} from '@duoveil/proto';
import type { MaskedOpening as WireOpening, MaskedPair } from '@duoveil/proto';

import type { PassingCall } from '../../src/faults/csp-proxy.js';
import { engine } from './deployment.js';

/** The masked values in a request; none in one that carries none. */
export function openingsOf({ method, request }: PassingCall): WireOpening[] {
  const sides = (pairs: readonly MaskedPair[]): WireOpening[] =>
    pairs.flatMap(({ left, right }) => [left, right]).filter((side) => side !== undefined);
  switch (method) {
    case 'Subtract':
      return sides(SubtractRequest.decode(request).pairs);
    case 'Multiply':
      return sides(MultiplyRequest.decode(request).pairs);
    case 'Divide':
      return DivideRequest.decode(request).values;
    case 'InvertMatrix':
      return InvertMatrixRequest.decode(request).entries;
    case 'Open':
      return OpenRequest.decode(request).values;
    default:
      return [];
  }
}

/** Keeps all masked values that pass. */
export class Openings {
  readonly #seen: WireOpening[] = [];

  /** How many there were so far. */
  get count(): number {
    return this.#seen.length;
  }

  take(call: PassingCall): void {
    this.#seen.push(...openingsOf(call));
  }

  /** The ciphertexts, and what they hold: how many of each are different. */
  async distinct(
    master: MasterKey,
    bcp: Bcp,
    publicKey: bigint,
  ): Promise<{ ciphertexts: number; values: number }> {
    const decryption = await MasterDecryption.create(master, engine);
    const decoded: MaskedOpening[] = await decodeOpenings(
      this.#seen,
      'seen',
      bcp.parameters,
      engine,
    );
    const values = await decryption.open(publicKey, decoded);
    return {
      ciphertexts: new Set(this.#seen.map(({ b }) => b.toString('hex'))).size,
      values: new Set(values).size,
    };
  }
}
