/**
 * One request that brings an event to a Broker, a Channel or any other receiver, with a body of any size that is never
 * held in memory. Where the size is known it is said; else the body goes out in chunks.
 *
 * Large bodies ask first (`Expect: 100-continue`): a receiver that can tell from the head that it will not take the event
 * answers before a byte of it is sent. An answer that comes early ends the sending, whatever is left.
 */
import { once } from 'node:events';
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { KnearError, messageOf } from '../../core/errors.ts';
import type { Clock } from '../../core/ports/time.ts';

export interface PostBody {
  /** Absent: not known before the end. */
  readonly sizeBytes?: number;
  open(): AsyncIterable<Uint8Array>;
}

export interface PostOptions {
  readonly url: URL;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: PostBody;
  readonly clock: Clock;
  /** Called with the bytes of each piece that goes out. */
  onSent?(bytes: number): void;
}

export interface PostAnswer {
  readonly status: number;
  readonly statusText: string;
  /** Lower-case name -> value. */
  readonly headers: IncomingMessage['headers'];
  /** The beginning of the body. */
  readonly text: string;
  /** The body was begun, so that a source that can be read once has nothing left to send again. */
  readonly isBodyBegun: boolean;
}

/** From here on an upload for nothing costs more than a question and its answer. */
const ASK_FROM_BYTES = 64 * 1024;
/** Receivers need not know the question, and then wait for the body (RFC 9110, section 10.1.1). */
const ASK_PATIENCE_MS = 1_000;
/** Twice what a door waits for a piece of a body: longer silence is no answer. */
const SILENCE_MAX_MS = 60_000;
/** A problem document is below 8 KiB; of anything else nobody wants to see more. */
const ANSWER_MAX_BYTES = 64 * 1024;

/**
 * Sends the request and resolves with whatever is answered.
 * @throws KNEAR_UNREACHABLE when nothing answers. An error of the body itself is passed on.
 */
export async function post(options: PostOptions): Promise<PostAnswer> {
  const { url, body } = options;
  const request = openRequest(options);
  const answered = answerOf(request, url);
  // It may fail while the body is being read, where nobody waits for it.
  answered.catch(() => undefined);
  let isBodyBegun = false;
  try {
    if (await isWanted(request, answered, options)) {
      isBodyBegun = true;
      await writeBody(request, answered, options);
      request.end();
    }
    const response = await answered;
    return {
      status: response.statusCode ?? 0,
      statusText: response.statusMessage ?? '',
      headers: response.headers,
      text: await beginningOf(response),
      isBodyBegun: isBodyBegun && body.sizeBytes !== 0,
    };
  } finally {
    request.destroy();
  }
}

function openRequest({ url, headers, body: { sizeBytes } }: PostOptions): ClientRequest {
  const open = url.protocol === 'https:' ? requestHttps : requestHttp;
  // No agent: one event, one connection, and none is left open when the command is done.
  const request = open(url, { method: 'POST', agent: false });
  for (let index = 0; index + 1 < headers.length; index += 2) {
    request.setHeader(headers[index] ?? '', headers[index + 1] ?? '');
  }
  if (sizeBytes !== undefined) request.setHeader('content-length', sizeBytes);
  return request;
}

function answerOf(request: ClientRequest, url: URL): Promise<IncomingMessage> {
  request.setTimeout(SILENCE_MAX_MS, () => {
    request.destroy(new Error(`silence for ${SILENCE_MAX_MS / 1_000} s`));
  });
  return new Promise((resolve, reject) => {
    request.on('response', resolve);
    // After the answer nobody listens any more, and nothing else can go wrong.
    request.on('error', (cause) => {
      const detail = `${url.href} gave no answer (${reasonOf(cause)}): check the address, and that somebody listens there`;
      reject(new KnearError('KNEAR_UNREACHABLE', detail, { cause }));
    });
  });
}

/** With several addresses of one host, node gives an error without a message. */
function reasonOf(cause: Error): string {
  return messageOf(cause) || (cause as NodeJS.ErrnoException).code || 'no connection';
}

/** Whether the body shall be sent: `false` when the answer is there before. */
async function isWanted(
  request: ClientRequest,
  answered: Promise<IncomingMessage>,
  { body: { sizeBytes = Infinity }, clock }: PostOptions,
): Promise<boolean> {
  if (sizeBytes < ASK_FROM_BYTES) return true;
  request.setHeader('expect', '100-continue');
  const told = new Promise<true>((resolve) => {
    request.on('continue', () => {
      resolve(true);
    });
    // From the connection on: to find the host may take its time, too.
    request.on('socket', (socket) => {
      socket.once('connect', () => {
        clock.after(ASK_PATIENCE_MS, () => {
          resolve(true);
        });
      });
    });
  });
  request.flushHeaders();
  return Promise.race([told, answered.then(() => false)]);
}

async function writeBody(
  request: ClientRequest,
  answered: Promise<IncomingMessage>,
  { body, onSent }: PostOptions,
): Promise<void> {
  let isAnswered = false;
  const noticed = answered.then(() => {
    isAnswered = true;
  });
  noticed.catch(() => undefined);
  for await (const piece of body.open()) {
    const isFull = !request.write(piece);
    onSent?.(piece.byteLength);
    if (isFull) await Promise.race([once(request, 'drain'), noticed]);
    if (isAnswered) return;
  }
}

async function beginningOf(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  try {
    // Without an encoding, a response gives buffers.
    for await (const piece of response as AsyncIterable<Buffer>) {
      pieces.push(piece);
      sizeBytes += piece.byteLength;
      if (sizeBytes > ANSWER_MAX_BYTES) break;
    }
  } catch {
    // The status is what counts, and it is there; the words that explain it may be cut off.
  }
  return Buffer.concat(pieces).toString('utf8', 0, ANSWER_MAX_BYTES);
}
