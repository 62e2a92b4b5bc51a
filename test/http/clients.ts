/** Two producers: one that speaks HTTP, and one that writes what it likes to the connection. */
import { once } from 'node:events';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { connect } from 'node:net';

export interface Sent {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Uint8Array;
}

export interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** One request on a connection of its own. */
export async function send(port: number, sent: Sent): Promise<Received> {
  const { method = 'POST', path = '/default/orders', headers = {}, body } = sent;
  const outgoing = request({ host: '127.0.0.1', port, method, path, headers, agent: false });
  outgoing.end(body);
  const [incoming] = await once(outgoing, 'response');
  let text = '';
  for await (const chunk of incoming) text += chunk;
  return { status: incoming.statusCode, headers: incoming.headers, body: text };
}

/** A connection as the producer sees it. */
export class Wire {
  readonly #socket: Socket;
  #received = '';
  #closed = false;

  static async open(port: number): Promise<Wire> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    await once(socket, 'connect');
    return new Wire(socket);
  }

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => (this.#received += text));
    // A reset is one of the ways a connection may end here; `close` follows.
    socket.on('error', () => undefined).on('close', () => (this.#closed = true));
  }

  get received(): string {
    return this.#received;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  write(...parts: readonly (string | Uint8Array)[]): this {
    for (const part of parts) this.#socket.write(part);
    return this;
  }

  /** The half that we send is over. */
  end(): this {
    this.#socket.end();
    return this;
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** All that came, once it contains `text`; fails if the connection ends before. */
  async until(text: string): Promise<string> {
    while (!this.#received.includes(text)) {
      if (this.#closed) throw new Error(`closed after ${JSON.stringify(this.#received)}`);
      await this.#change();
    }
    return this.#received;
  }

  async untilClosed(): Promise<string> {
    while (!this.#closed) await this.#change();
    return this.#received;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.once('data', () => resolve()).once('close', () => resolve());
    });
  }
}

/** Waits, turn by turn of the event loop, until something that the other side does can be seen here. */
export async function eventually(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn += 1) {
    // 20,000 turns are a second or more; whatever a test waits for takes a few.
    if (turn > 20_000) throw new Error(`never came true: ${holds.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
