/**
 * One keep-alive connection of the load generator: one event in flight, one private copy of the request's bytes whose id
 * is overwritten for each event, one read buffer for all answers.
 */
import { connect, type Socket } from 'node:net';
import { copyTemplate, createScanner, statusOf, writeId, type RequestTemplate } from '../wire.ts';

export interface Connection {
  /** Sends one event. Only when the last one is answered: its bytes are reused. */
  send(sequence: number): void;
  close(): void;
}

export interface ConnectionOptions {
  readonly port: number;
  readonly template: RequestTemplate;
  /** The event sent last has its answer, and the next may be sent. Status 0: the connection broke (a new one is up). */
  readonly onAnswer: (connection: Connection, sequence: number, status: number) => void;
  /** No connection can be made any more. */
  readonly onError: (error: Error) => void;
}

/** Answers are small; one read takes several of them. */
const READ_BYTES = 16_384;
const NOTHING_SENT = -1;

/** Resolves when connected; rejects when nobody listens. */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const template = copyTemplate(options.template);
  const readBuffer = Buffer.allocUnsafe(READ_BYTES);
  let inFlight = NOTHING_SENT;
  let isClosed = false;

  const connection: Connection = {
    send(sequence) {
      inFlight = sequence;
      writeId(template, sequence);
      socket.write(template.bytes);
    },
    close() {
      isClosed = true;
      socket.destroy();
    },
  };

  function answered(status: number): void {
    const sequence = inFlight;
    inFlight = NOTHING_SENT;
    if (sequence !== NOTHING_SENT) options.onAnswer(connection, sequence, status);
  }

  async function dial(): Promise<Socket> {
    const scan = createScanner({
      keepsBody: () => false,
      onMessage: (head) => {
        answered(statusOf(head));
      },
    });
    const dialled = connect({
      host: '127.0.0.1',
      port: options.port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback(size) {
          scan(readBuffer.subarray(0, size));
          return true;
        },
      },
    });
    await new Promise<void>((resolve, reject) => {
      dialled.once('connect', resolve);
      dialled.once('error', reject);
    });
    dialled.on('error', () => undefined); // 'close' follows and says the same
    dialled.once('close', () => {
      if (!isClosed) void redial();
    });
    return dialled;
  }

  async function redial(): Promise<void> {
    try {
      socket = await dial();
      answered(0);
    } catch (error) {
      options.onError(new Error('the connection broke and cannot be made again', { cause: error }));
    }
  }

  let socket = await dial();
  return connection;
}
