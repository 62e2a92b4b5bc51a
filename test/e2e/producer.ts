/** A producer: plain HTTP requests, so that a test says exactly what goes over the wire. */
import { Agent, request } from 'node:http';
import { buffer } from 'node:stream/consumers';

export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

export type Headers = Readonly<Record<string, string>>;

export interface Post {
  readonly headers: Headers;
  readonly body?: string | Uint8Array;
  /** Without a Content-Length. */
  readonly isChunked?: boolean;
}

/** A minute: longer than any answer takes, shorter than a test run that hangs. */
const ANSWER_MAX_MS = 60_000;

/** A connection for each request: nothing stays open when the program ends. */
const ONE_OFF = new Agent({ keepAlive: false });

/** @throws when there is no answer: refused, reset, or none within a minute. */
export async function post(
  url: string,
  { headers, body = '', isChunked = false }: Post,
  agent = ONE_OFF,
): Promise<Answered> {
  const length = isChunked ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      agent,
      method: 'POST',
      headers: { ...length, ...headers },
      signal: AbortSignal.timeout(ANSWER_MAX_MS),
    });
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      buffer(response).then((received) => {
        resolve({
          status: response.statusCode ?? 0,
          headers: Object.fromEntries(
            Object.entries(response.headers).map(([name, value]) => [name, String(value)]),
          ),
          body: received.toString(),
        });
      }, reject);
    });
    if (isChunked) outgoing.write(body);
    outgoing.end(isChunked ? undefined : body);
  });
}

/** Attributes of an event in binary mode, without their `ce-`. */
export interface Attributes {
  readonly id: string;
  readonly type: string;
  readonly [extension: string]: string;
}

/** Headers of an event in binary mode. */
export function binary({ ...attributes }: Attributes): Headers {
  const all: Headers = { specversion: '1.0', source: '/e2e', ...attributes };
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [`ce-${name}`, value]));
}

/** Sends one event in binary mode with a JSON body. */
export async function send(
  url: string,
  attributes: Attributes,
  body: string | Uint8Array = '{"a":1}',
): Promise<Answered> {
  return post(url, {
    headers: { ...binary(attributes), 'content-type': 'application/json' },
    body,
  });
}
