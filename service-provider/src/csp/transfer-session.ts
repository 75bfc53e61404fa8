import { isDuoveilError } from '@duoveil/common/errors';
import {
  chooseTransfers,
  drawDelta,
  type ExtensionSender,
} from '@duoveil/common/protocols/compare';
import type { RandomSource } from '@duoveil/common/random';
import { callUnary, type Connection } from '@duoveil/common/runtime';
import { PackedServiceService as Packed } from '@duoveil/proto';

import { callOptions } from './calls.js';

/** One use of an open session of oblivious transfers. */
export interface SessionInstance {
  readonly id: Buffer;
  /** Never the same twice in a session. */
  readonly instance: number;
  readonly sender: ExtensionSender;
}

interface OpenSession {
  readonly id: Buffer;
  readonly sender: ExtensionSender;
  nextInstance: number;
}

/** Uses of one session: the wire's numbers have 32 bits. */
const MAX_INSTANCE = 0xffff_ffff;

/** This process's session with the CSP: opened when first needed, and again when it is lost. */
export class TransferSession {
  readonly #connection: Connection;
  readonly #random: RandomSource;
  #session: Promise<OpenSession> | undefined;
  /** The name of that session, once it is open. */
  #id: Buffer | undefined;

  constructor(connection: Connection, random: RandomSource) {
    this.#connection = connection;
    this.#random = random;
  }

  /** The next use of the session, which is opened if need be. */
  async next(signal: AbortSignal): Promise<SessionInstance> {
    const session = await this.open(signal);
    if (session.nextInstance >= MAX_INSTANCE) this.#session = undefined;
    const { id, sender } = session;
    return { id, sender, instance: session.nextInstance++ };
  }

  /** Opens the session where it is not open. */
  open(signal: AbortSignal): Promise<OpenSession> {
    this.#session ??= this.#begin(signal).catch((error: unknown) => {
      this.#session = undefined;
      throw error;
    });
    return this.#session;
  }

  /**
   * After a failure of one use: is its session lost? Then the next use opens another one. One that was
   * opened since is left alone.
   */
  noteFailure(error: unknown, { id }: Pick<SessionInstance, 'id'>): void {
    if (!isDuoveilError(error, 'SESSION_NOT_OPEN') || this.#id?.equals(id) !== true) return;
    this.#session = undefined;
    this.#id = undefined;
  }

  async #begin(signal: AbortSignal): Promise<OpenSession> {
    const options = callOptions(signal);
    const { sessionId, offer } = await callUnary(
      this.#connection,
      Packed.offerTransfers,
      {},
      options,
    );
    const { delta, choices } = drawDelta(this.#random);
    const { message, keys } = await chooseTransfers(offer, choices, this.#random);
    const request = { sessionId, choices: Buffer.from(message) };
    await callUnary(this.#connection, Packed.chooseTransfers, request, options);
    this.#id = sessionId;
    return { id: sessionId, sender: { delta, keys }, nextInstance: 1 };
  }
}
