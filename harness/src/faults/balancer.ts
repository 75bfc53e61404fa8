/** What stands before replicas: takes connections, and passes each on to one that is there. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

import { parseAddress } from '@duoveil/common/runtime';

/** Passes bytes on as they are: TLS is between the caller and the replica. */
export class Balancer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #targets: readonly string[] = [];

  private constructor() {
    this.#server = createServer((socket) => {
      this.#keep(socket);
      void this.#pass(socket);
    });
  }

  /** Listen on loopback. */
  static async start(): Promise<Balancer> {
    const balancer = new Balancer();
    balancer.#server.listen(0, '127.0.0.1');
    await once(balancer.#server, 'listening');
    return balancer;
  }

  /** Where to connect to. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** From now on, connections go to the first of these addresses that takes them. */
  direct(...targets: readonly string[]): void {
    this.#targets = targets;
  }

  /** End all connections that there are. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  async #pass(socket: Socket): Promise<void> {
    for (const target of this.#targets) {
      const { host, port } = parseAddress(target, 'a replica');
      const onward = connect(port, host);
      this.#keep(onward);
      const isThere = await once(onward, 'connect').then(
        () => true,
        () => false,
      );
      if (!isThere) continue;
      socket.pipe(onward).pipe(socket);
      socket.on('close', () => onward.destroy());
      onward.on('close', () => socket.destroy());
      return;
    }
    socket.destroy();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
