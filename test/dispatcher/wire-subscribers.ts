/** Subscribers that read from the socket itself, as slowly as a test wants, and what they had when it broke. */
import type net from 'node:net';
import { pause } from '../e2e/eventually.ts';
import { rawSubscriber } from './deliver-subscribers.ts';

/** A request as it is on the wire, as far as it came. */
export interface WireRequest {
  readonly head: string;
  readonly announcedBytes: number;
  readonly body: Buffer[];
  bodyBytes: number;
}

/** Reads requests whose length is announced, one after the other. */
export function readRequests(
  socket: net.Socket,
  { onHead, onWhole }: { onHead?: () => void; onWhole?: (request: WireRequest) => void } = {},
): WireRequest[] {
  const requests: WireRequest[] = [];
  let text = Buffer.alloc(0);
  let current: WireRequest | undefined;
  socket.on('data', (chunk: Buffer) => {
    let piece = chunk;
    if (!current) {
      text = Buffer.concat([text, chunk]);
      const endsAt = text.indexOf('\r\n\r\n');
      if (endsAt === -1) return;
      const head = text.subarray(0, endsAt).toString('latin1');
      const announcedBytes = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
      current = { head, announcedBytes, body: [], bodyBytes: 0 };
      requests.push(current);
      piece = text.subarray(endsAt + 4);
      text = Buffer.alloc(0);
      onHead?.();
    }
    current.body.push(piece);
    current.bodyBytes += piece.byteLength;
    if (current.bodyBytes < current.announcedBytes) return;
    const whole = current;
    current = undefined;
    onWhole?.(whole);
  });
  return requests;
}

/** What does not change any more for as long as a socket or a disk needs at most, on a machine that is busy. */
export async function settled(count: () => number): Promise<number> {
  let last = count();
  for (let equal = 0; equal < 5;) {
    await pause(30);
    const now = count();
    equal = now === last ? equal + 1 : 0;
    last = now;
  }
  return last;
}

const ACCEPTED_TEXT = 'HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n';

export const accept = (socket: net.Socket): void => void socket.write(ACCEPTED_TEXT);

/** Stops reading at the head of its first request; `socket` is there from then on. */
export async function stoppingSubscriber(onWhole = accept) {
  const all: WireRequest[][] = [];
  const { opened: socket, open } = gate<net.Socket>();
  const { url, connections } = await rawSubscriber((connection) => {
    const onHead = () => {
      if (all.length > 1) return;
      connection.pause();
      open(connection);
    };
    all.push(readRequests(connection, { onHead, onWhole: () => onWhole(connection) }));
  });
  return { url, connections, socket, requests: () => all.flat() };
}

/** Reads on, and stops again after about so much. */
export function take(socket: net.Socket, sizeBytes: number): Promise<void> {
  return new Promise((resolve) => {
    let takenBytes = 0;
    const onData = ({ byteLength }: Buffer) => {
      takenBytes += byteLength;
      if (takenBytes < sizeBytes) return;
      socket.pause();
      socket.off('data', onData);
      resolve();
    };
    socket.on('data', onData);
    socket.resume();
  });
}

export function gate<T>(): { opened: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => undefined;
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
