/**
 * One keep-alive connection of the load generator: one event in flight, one private copy of the request's bytes whose id
 * is overwritten for each event, one read buffer for all answers. Large data follows in pieces that all connections share,
 * as fast as the other side takes them.
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
  let nextPiece = template.pieces.length;
  /** Of an event that was answered before all of it was sent. */
  let earlyStatus = 0;
  let isClosed = false;

  const connection: Connection = {
    send(sequence) {
      inFlight = sequence;
      writeId(template, sequence);
      nextPiece = 0;
      if (socket.write(template.bytes)) writePieces();
    },
    close() {
      isClosed = true;
      socket.destroy();
    },
  };

  /** Until there is no room; 'drain' goes on. */
  function writePieces(): void {
    for (;;) {
      const piece = template.pieces[nextPiece];
      if (piece === undefined) return;
      nextPiece += 1;
      if (!socket.write(piece)) return;
    }
  }

  function answered(status: number): void {
    const sequence = inFlight;
    inFlight = NOTHING_SENT;
    if (sequence !== NOTHING_SENT) options.onAnswer(connection, sequence, status);
  }

  async function dial(): Promise<Socket> {
    const scan = createScanner({
      keepsBody: () => false,
      onMessage: (head) => {
        const status = statusOf(head);
        if (nextPiece === template.pieces.length) return answered(status);
        // A refusal. The rest is not sent, so that nothing else can be sent on this connection.
        earlyStatus = status;
        nextPiece = template.pieces.length;
        dialled.destroy();
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
    dialled.on('drain', writePieces);
    dialled.once('close', () => {
      if (!isClosed) void redial();
    });
    return dialled;
  }

  async function redial(): Promise<void> {
    try {
      nextPiece = template.pieces.length;
      socket = await dial();
      const status = earlyStatus;
      earlyStatus = 0;
      answered(status);
    } catch (error) {
      options.onError(new Error('the connection broke and cannot be made again', { cause: error }));
    }
  }

  let socket = await dial();
  return connection;
}
