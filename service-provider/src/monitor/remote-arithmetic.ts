import type { Ciphertext } from '@duoveil/common/bcp';
import {
  acceptDifferences,
  acceptInverse,
  acceptOpening,
  acceptProducts,
  acceptQuotients,
  requestDifferences,
  requestInverse,
  requestOpening,
  requestProducts,
  requestQuotients,
  type BlindedArithmetic,
  type CiphertextMatrix,
  type CiphertextPair,
  type ServiceProviderRole,
} from '@duoveil/common/protocols/reference';
import type { RandomSource } from '@duoveil/common/random';

import type { BlindedArithmeticClient } from '../csp/blinded-arithmetic.js';
import { attempts } from '../csp/calls.js';

/** Operations in one call: bounds what a call weighs and how long it takes. */
const OPERATIONS_PER_CALL = 32;

/**
 * The reference suite's operations, played with the CSP over the network. Each attempt of a call is
 * masked afresh: a retry never shows the CSP a value under a mask that it has seen.
 */
export class RemoteArithmetic implements BlindedArithmetic {
  readonly #sp: ServiceProviderRole;
  readonly #csp: BlindedArithmeticClient;
  readonly #random: RandomSource;
  readonly #stop: AbortSignal;

  constructor(
    sp: ServiceProviderRole,
    csp: BlindedArithmeticClient,
    random: RandomSource,
    stop: AbortSignal,
  ) {
    this.#sp = sp;
    this.#csp = csp;
    this.#random = random;
    this.#stop = stop;
  }

  async subtract(pairs: readonly CiphertextPair[]): Promise<Ciphertext[]> {
    return this.#inCalls(pairs, async (part) => {
      const { pairs: masked, masks } = await requestDifferences(this.#sp, part, this.#random);
      return acceptDifferences(this.#sp, masks, await this.#csp.subtract(masked, this.#stop));
    });
  }

  async multiply(pairs: readonly CiphertextPair[]): Promise<Ciphertext[]> {
    return this.#inCalls(pairs, async (part) => {
      const { pairs: masked, masks } = await requestProducts(this.#sp, part, this.#random);
      const answer = await this.#csp.multiply(masked, this.#stop);
      return acceptProducts(this.#sp, part, masks, answer);
    });
  }

  async divide(dividends: readonly Ciphertext[], divisor: bigint): Promise<Ciphertext[]> {
    return this.#inCalls(dividends, async (part) => {
      const { openings, masks } = await requestQuotients(this.#sp, part, this.#random);
      const answer = await this.#csp.divide(openings, Number(divisor), this.#stop);
      return acceptQuotients(this.#sp, divisor, masks, answer);
    });
  }

  async invert(matrix: CiphertextMatrix): Promise<Ciphertext[][]> {
    return this.#attempts(async () => {
      const { entries, mask } = await requestInverse(this.#sp, matrix, this.#random);
      const answer = await this.#csp.invertMatrix(matrix.length, entries, this.#stop);
      return acceptInverse(this.#sp, mask, answer);
    });
  }

  async open(values: readonly Ciphertext[]): Promise<bigint[]> {
    return this.#inCalls(values, async (part) => {
      const { openings, masks } = await requestOpening(this.#sp, part, this.#random);
      return acceptOpening(this.#sp, masks, await this.#csp.open(openings, this.#stop));
    });
  }

  /** A long list in several calls, one after the other. */
  async #inCalls<Operand, Result>(
    operands: readonly Operand[],
    call: (part: readonly Operand[]) => Promise<Result[]>,
  ): Promise<Result[]> {
    const results: Result[] = [];
    for (let start = 0; start < operands.length; start += OPERATIONS_PER_CALL) {
      const part = operands.slice(start, start + OPERATIONS_PER_CALL);
      results.push(...(await this.#attempts(() => call(part))));
    }
    return results;
  }

  #attempts<Result>(attempt: () => Promise<Result>): Promise<Result> {
    return attempts(attempt, this.#random, this.#stop);
  }
}
