/** Requests as bytes: written to a connection as they are, with nothing in between that could put them right. */
import { once } from 'node:events';
import { connect } from 'node:net';

export interface Replayed {
  /** Of every answer, 100 Continue included. */
  readonly statuses: readonly number[];
  /** Everything that came back, one character a byte. */
  readonly text: string;
}

export interface ReplayOptions {
  /** How many final answers there will be; 1 unless said. */
  readonly answers?: number | undefined;
  /** The other side has to end the connection by itself. */
  readonly isLast?: boolean | undefined;
  /** Written once the first bytes have come back. */
  readonly rest?: Uint8Array | undefined;
}

/** 20 s: more than any answer takes, less than the test has. */
const ANSWER_MAX_MS = 20_000;

/** Writes the bytes and resolves with what came back. @throws when answers are missing, with what there is. */
export async function replay(
  url: string,
  bytes: Uint8Array,
  { answers = 1, isLast = false, rest }: ReplayOptions = {},
): Promise<Replayed> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  await once(socket, 'connect');
  let text = '';
  const isOver = () =>
    !isLast && statusesOf(text).filter((status) => status >= 200).length >= answers;
  const all = new Promise<void>((resolve, reject) => {
    const giveUp = setTimeout(() => {
      reject(new Error(`after ${String(ANSWER_MAX_MS)} ms only ${JSON.stringify(text)}`));
      socket.destroy();
    }, ANSWER_MAX_MS);
    socket.setEncoding('latin1').on('data', (part: string) => {
      if (text === '' && rest) socket.write(rest);
      text += part;
      if (isOver()) socket.end();
    });
    socket.on('error', reject).on('close', () => {
      clearTimeout(giveUp);
      resolve();
    });
  });
  socket.write(bytes);
  await all;
  return { statuses: statusesOf(text), text };
}

function statusesOf(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => Number(status));
}

export interface Written {
  /** Header lines, without Content-Length and Host unless one is about them. */
  readonly lines: readonly string[];
  readonly body?: string | Uint8Array;
  /** `/senders/NAME` unless said. */
  readonly target?: string;
  readonly version?: '1.0' | '1.1';
}

/** The bytes of a POST. Lines are Latin-1, so that one character is one byte. */
export function requestTo(name: string, written: Written): Buffer {
  const { lines, body = '', target = `/senders/${name}`, version = '1.1' } = written;
  const has = (header: string) => lines.some((line) => line.toLowerCase().startsWith(`${header}:`));
  const head = [
    `POST ${target} HTTP/${version}`,
    ...(has('host') || version === '1.0' ? [] : ['Host: door']),
    ...(has('content-length') || has('transfer-encoding')
      ? []
      : [`Content-Length: ${String(Buffer.byteLength(body))}`]),
    ...lines,
    '',
    '',
  ];
  return Buffer.concat([Buffer.from(head.join('\r\n'), 'latin1'), Buffer.from(body)]);
}

/** The head of an event in binary mode. `ce-id` is the name. */
export function eventLines(name: string, more: readonly string[] = []): string[] {
  return [
    'ce-specversion: 1.0',
    `ce-id: ${name}`,
    'ce-source: /written',
    'ce-type: com.example.written',
    ...more,
  ];
}
