/** A session at an MQTT broker: messages in order, each acknowledged when whoever takes it says so. */
import { dirname, resolve } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import { abortReason, Bell, readSettingFile } from '@duoveil/common/runtime';
import type { Logger } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';
import type { IClientOptions, IPublishPacket, MqttClient } from 'mqtt';

import { inputError } from './input-error.js';
import type { MqttMapping } from './mqtt-mapping.js';
import { MAX_MESSAGE_BYTES } from './mqtt-rows.js';

/** What a session needs. */
export interface SessionOptions {
  readonly mapping: MqttMapping;
  /** The mapping's file: names of files in it are relative to it. */
  readonly mappingFile: string;
  readonly password: Secret<string> | undefined;
  readonly topics: readonly string[];
  readonly logger: Logger;
}

/** A message that was published while somebody subscribed; retained ones are of the past and left out. */
export interface BrokerMessage {
  readonly topic: string;
  readonly payload: Buffer;
  /** Tells the broker that the message is dealt with: else it delivers it again, after a new connection. */
  acknowledge(): void;
}

/** The connection was lost, and the broker delivers again what was not acknowledged. */
export const DELIVERED_AGAIN = Symbol('delivered again');

/** Messages that the broker may send before any of them is acknowledged, and that are kept here. */
const IN_FLIGHT = 64;

/** For how long the broker keeps what is published while nobody is connected, in seconds. */
const SESSION_EXPIRY_S = 86_400;

const RECONNECT_MS = 2000;

interface Kept extends BrokerMessage {
  readonly qos: 0 | 1 | 2;
}

/** See the file's comment. */
export class MqttSession {
  readonly #options: SessionOptions;
  readonly #client: MqttClient;
  readonly #bell = new Bell();
  #kept: (Kept | typeof DELIVERED_AGAIN)[] = [];
  #failure: Error | undefined;
  #connections = 0;

  private constructor(options: SessionOptions, client: MqttClient) {
    this.#options = options;
    this.#client = client;
    client.handleMessage = (packet, done) => {
      this.#receive(packet, done);
    };
    client.on('connect', ({ sessionPresent }) => {
      this.#connected(sessionPresent);
    });
    client.on('error', (error) => {
      this.#failed(error);
    });
    client.on('offline', () => {
      options.logger.warn('the broker cannot be reached; trying again');
    });
  }

  /**
   * Begins to connect. The client's code is loaded here, and only here.
   * @throws CONFIG_INVALID where a file cannot be read
   */
  static async begin(options: SessionOptions): Promise<MqttSession> {
    const settings = await clientOptions(options);
    const { connect } = await import('mqtt');
    return new MqttSession(options, connect(options.mapping.broker, settings));
  }

  /**
   * Messages in the order of their delivery, and {@link DELIVERED_AGAIN} between them.
   * @throws INPUT_INVALID where the broker refuses the session or a topic; the signal's reason
   */
  async *messages(
    signal: AbortSignal,
  ): AsyncGenerator<BrokerMessage | typeof DELIVERED_AGAIN, never> {
    for (;;) {
      await this.#bell.until(() => this.#kept.length > 0 || this.#failure !== undefined, signal);
      if (signal.aborted) throw abortReason(signal);
      const [next] = this.#kept.splice(0, 1);
      this.#bell.ring();
      if (next !== undefined) yield next;
      else if (this.#failure !== undefined) throw this.#failure;
    }
  }

  /** Leaves; what is not acknowledged is delivered again, to the next who comes by this name. */
  async close(): Promise<void> {
    this.#failure ??= duoveilError('NOT_READY', 'the session is over');
    this.#bell.ring();
    await this.#client.endAsync(true);
  }

  #receive(packet: IPublishPacket, done: (error?: Error) => void): void {
    const connection = this.#connections;
    const { topic, payload, qos, messageId } = packet;
    const acknowledge = (): void => {
      // An identifier is of one connection: of another one it would name another message.
      if (qos === 1 && messageId !== undefined && connection === this.#connections) {
        this.#acknowledge(messageId);
      }
    };
    // With an error the client goes on and leaves the acknowledgement to us.
    const leave = (): void => {
      done(qos === 1 ? new Error('acknowledged later') : undefined);
    };
    if (packet.retain) {
      acknowledge();
      leave();
      return;
    }
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
    this.#kept.push({ topic, payload: bytes, qos, acknowledge });
    this.#bell.ring();
    // Until there is room the client takes nothing more from the broker.
    const hasRoom = (): boolean => this.#kept.length < IN_FLIGHT || this.#failure !== undefined;
    void this.#bell.until(hasRoom).then(leave);
  }

  #acknowledge(messageId: number): void {
    if (!this.#client.connected) return;
    // PUBACK, MQTT 5.0, section 3.4: the client has no call for one that comes later.
    this.#client.stream.write(Buffer.from([0x40, 2, messageId >> 8, messageId & 0xff]));
  }

  #connected(sessionPresent: boolean): void {
    const { logger, mapping, topics } = this.#options;
    this.#connections += 1;
    if (this.#connections > 1 && sessionPresent) {
      this.#kept = [
        ...this.#kept.filter((one) => one !== DELIVERED_AGAIN && one.qos === 0),
        DELIVERED_AGAIN,
      ];
      this.#bell.ring();
    }
    if (this.#connections > 1 && !sessionPresent) {
      logger.warn('the broker does not know this session any more: messages may be lost');
    }
    // No retained messages: they are of the past.
    const wanted = Object.fromEntries(topics.map((topic) => [topic, { qos: 1, rh: 2 } as const]));
    this.#client.subscribe(wanted, (error) => {
      if (error === null) logger.info('subscribed at the broker', { sessionPresent });
      else if (this.#client.connected) {
        this.#fail(inputError(mapping.broker, 'does not let this gateway subscribe', error));
      }
    });
  }

  #failed(error: Error): void {
    const { logger, mapping } = this.#options;
    const reason = 'code' in error ? error.code : undefined;
    // A number is the broker's own word; whatever else may pass.
    if (typeof reason === 'number') {
      const problem = `refuses the connection (reason ${reason}); are name and password right?`;
      this.#fail(inputError(mapping.broker, problem, error));
    } else logger.warn('the connection to the broker failed; trying again', { error });
  }

  #fail(failure: Error): void {
    this.#failure ??= failure;
    this.#bell.ring();
  }
}

async function clientOptions(options: SessionOptions): Promise<IClientOptions> {
  const { mapping, mappingFile, password } = options;
  const file = (name: string | undefined): Promise<Buffer | undefined> =>
    name === undefined
      ? Promise.resolve(undefined)
      : readSettingFile(resolve(dirname(mappingFile), name), 'mapping.tls');
  const [ca, cert, key] = await Promise.all([
    file(mapping.tls.ca),
    file(mapping.tls.certificate),
    file(mapping.tls.key),
  ]);
  return {
    protocolVersion: 5,
    clientId: mapping.clientId,
    clean: false,
    properties: {
      sessionExpiryInterval: SESSION_EXPIRY_S,
      receiveMaximum: IN_FLIGHT,
      // Something is left for names and properties.
      maximumPacketSize: 2 * MAX_MESSAGE_BYTES,
    },
    keepalive: 30,
    connectTimeout: 10_000,
    reconnectPeriod: RECONNECT_MS,
    resubscribe: false,
    ...(mapping.username !== undefined && { username: mapping.username }),
    ...(password !== undefined && { password: Buffer.from(password.reveal()) }),
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}
