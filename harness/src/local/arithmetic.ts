import type { Ciphertext } from '@duoveil/common/bcp';
import {
  acceptDifferences,
  acceptInverse,
  acceptOpening,
  acceptProducts,
  acceptQuotients,
  answerDifferences,
  answerInverse,
  answerOpening,
  answerProducts,
  answerQuotients,
  requestDifferences,
  requestInverse,
  requestOpening,
  requestProducts,
  requestQuotients,
} from '@duoveil/common/protocols/reference';
import type {
  BlindedArithmetic,
  CiphertextMatrix,
  CiphertextPair,
  CryptoServiceProviderRole,
  ServiceProviderRole,
} from '@duoveil/common/protocols/reference';
import type { RandomSource } from '@duoveil/common/random';

/** Both roles of the reference suite in one process, with nothing of the network between them. */
export class LocalBlindedArithmetic implements BlindedArithmetic {
  readonly #sp: ServiceProviderRole;
  readonly #csp: CryptoServiceProviderRole;
  readonly #random: RandomSource;

  constructor(sp: ServiceProviderRole, csp: CryptoServiceProviderRole, random: RandomSource) {
    this.#sp = sp;
    this.#csp = csp;
    this.#random = random;
  }

  async subtract(pairs: readonly CiphertextPair[]): Promise<Ciphertext[]> {
    const { pairs: masked, masks } = await requestDifferences(this.#sp, pairs, this.#random);
    const answer = await answerDifferences(this.#csp, masked, this.#random);
    return acceptDifferences(this.#sp, masks, answer);
  }

  async multiply(pairs: readonly CiphertextPair[]): Promise<Ciphertext[]> {
    const { pairs: masked, masks } = await requestProducts(this.#sp, pairs, this.#random);
    const answer = await answerProducts(this.#csp, masked, this.#random);
    return acceptProducts(this.#sp, pairs, masks, answer);
  }

  async divide(dividends: readonly Ciphertext[], divisor: bigint): Promise<Ciphertext[]> {
    const { openings, masks } = await requestQuotients(this.#sp, dividends, this.#random);
    const answer = await answerQuotients(this.#csp, openings, divisor, this.#random);
    return acceptQuotients(this.#sp, divisor, masks, answer);
  }

  async invert(matrix: CiphertextMatrix): Promise<Ciphertext[][]> {
    const { entries, mask } = await requestInverse(this.#sp, matrix, this.#random);
    const answer = await answerInverse(this.#csp, matrix.length, entries, this.#random);
    return acceptInverse(this.#sp, mask, answer);
  }

  async open(values: readonly Ciphertext[]): Promise<bigint[]> {
    const { openings, masks } = await requestOpening(this.#sp, values, this.#random);
    return acceptOpening(this.#sp, masks, await answerOpening(this.#csp, openings));
  }
}
