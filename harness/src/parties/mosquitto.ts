/** A throw-away Mosquitto, an MQTT broker, on loopback. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Daemon } from './daemon.js';

/** Where Debian's package puts it, which is on the path of root alone. */
const environment = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` };

/** How a broker is to be. */
export interface MosquittoOptions {
  /** Who may come; anybody where it is left out. */
  readonly user?: { readonly name: string; readonly password: string };
  /** PEM files of a server's certificate, its key and the authority of both sides; without, no TLS. */
  readonly tls?: { readonly certificate: string; readonly key: string; readonly ca: string };
}

/** See the file's comment. It keeps sessions on disk as it is stopped, and finds them again. */
export class Mosquitto {
  readonly port: number;
  readonly #directory: string;
  #daemon: Daemon | undefined;

  private constructor(directory: string, port: number) {
    this.#directory = directory;
    this.port = port;
  }

  /** Is there a Mosquitto that can be started here? */
  static get available(): boolean {
    return spawnSync('mosquitto', ['-h'], { env: environment }).error === undefined;
  }

  /** Start one and wait until it listens. */
  static async start(options: MosquittoOptions = {}): Promise<Mosquitto> {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-mqtt-'));
    for (let attempt = 1; ; attempt += 1) {
      const broker = new Mosquitto(directory, await freePort());
      await broker.#configure(options);
      try {
        await broker.resume();
        return broker;
      } catch (error) {
        // Somebody else may have taken the port meanwhile.
        if (attempt === 5) throw error;
      }
    }
  }

  /** Start it again after {@link halt}. */
  async resume(): Promise<void> {
    this.#daemon = await Daemon.start({
      name: 'a Mosquitto',
      command: ['mosquitto', '-c', join(this.#directory, 'broker.conf')],
      ready: ' running',
      stopSignal: 'TERM',
      environment,
    });
  }

  /** Stop it; sessions and what waits for them stay. */
  async halt(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    await daemon?.stop();
  }

  /** Stop it and remove what it has. */
  async stop(): Promise<void> {
    await this.halt();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #configure({ user, tls }: MosquittoOptions): Promise<void> {
    const passwords = join(this.#directory, 'passwords');
    if (user !== undefined) {
      await writeFile(passwords, `${user.name}:${user.password}\n`, { mode: 0o600 });
      spawnSync('mosquitto_passwd', ['-U', passwords]);
    }
    const lines = [
      ...(process.getuid?.() === 0 ? ['user root'] : []),
      `listener ${this.port} 127.0.0.1`,
      ...(user === undefined
        ? ['allow_anonymous true']
        : ['allow_anonymous false', `password_file ${passwords}`]),
      ...(tls === undefined
        ? []
        : [`certfile ${tls.certificate}`, `keyfile ${tls.key}`, `cafile ${tls.ca}`]),
      ...['persistence true', `persistence_location ${this.#directory}/`],
      ...['log_dest stderr', 'log_type all'],
    ];
    await writeFile(join(this.#directory, 'broker.conf'), `${lines.join('\n')}\n`);
  }
}

/** The broker cannot choose one itself. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
