/**
 * A TCP proxy before a server, so that one client is parted from it while the others are not: cut, as by a firewall that answers,
 * or frozen, as by a network that loses everything and says nothing.
 *
 *   const proxy = await openProxy(nats.port);
 *   afterEach(() => proxy.close());
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Proxy {
  readonly port: number;
  /** Connections that are open, frozen ones included. */
  readonly connections: number;
  /** Resets what is open and refuses what is new, until `restore`. */
  cut(): void;
  /** Connections stay open and new ones are taken, and not a byte passes, either way, until `restore`. */
  freeze(): void;
  /** All as at first. What was frozen goes on with what has come meanwhile. */
  restore(): void;
  close(): Promise<void>;
}

type State = 'open' | 'cut' | 'frozen';

/** To 127.0.0.1. */
export async function openProxy(targetPort: number): Promise<Proxy> {
  let state: State = 'open';
  const sockets = new Set<Socket>();

  function keep(socket: Socket): void {
    sockets.add(socket);
    if (state === 'frozen') socket.pause();
    // Whatever ends one end ends the other.
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  }

  const server = createServer((client) => {
    if (state === 'cut') {
      client.resetAndDestroy();
      return;
    }
    const target = connect(targetPort, '127.0.0.1');
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      keep(from);
      from.on('data', (bytes) => {
        to.write(bytes);
      });
      from.on('close', () => to.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // An object after `listening` on a port.
  const { port } = server.address() as AddressInfo;
  return {
    port,
    get connections() {
      return sockets.size / 2;
    },
    cut() {
      state = 'cut';
      for (const socket of sockets) socket.resetAndDestroy();
    },
    freeze() {
      state = 'frozen';
      for (const socket of sockets) socket.pause();
    },
    restore() {
      state = 'open';
      for (const socket of sockets) socket.resume();
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
