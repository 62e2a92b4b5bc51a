/**
 * HTTP/1.1 as the load generator and the subscriber speak it: bytes written by hand, and the least scanner that finds
 * where a message ends.
 *
 * Bench code only, and deliberately so: sender and subscriber share two cores with the program they measure, and with
 * node:http at both ends the floor itself would cost more than what is measured on top of it (docs/benchmarks.md has the
 * figures). The other side is always ours, so a message that this scanner does not understand (a chunked body, say) is
 * an error that ends the measurement, never a guess.
 */

/** One event as bytes that can be sent again and again with another id. */
export interface RequestTemplate {
  readonly bytes: Buffer;
  /** Where the id's digits stand; `writeId` fills them. */
  readonly idOffset: number;
  /**
   * What follows `bytes` when the data is large: views of the same few bytes again and again, so that no event is in
   * memory as a whole.
   */
  readonly pieces: readonly Buffer[];
}

export interface EventShape {
  readonly host: string;
  readonly path: string;
  readonly type: string;
  /** Bytes of data (a JSON document). */
  readonly dataBytes: number;
  /** Tells events of one measurement from the stragglers of the last. */
  readonly run: number;
}

export interface ScannerOptions {
  /** Decides per message whether its body is kept; a body that nobody reads is only counted. */
  readonly keepsBody: (head: string) => boolean;
  /** `head`: the start line and the header lines, without the empty line. */
  readonly onMessage: (head: string, body: Buffer) => void;
}

/** Digits of a sequence number in an id: a run of ten million events is beyond any row. */
const SEQUENCE_DIGITS = 8;
const SEQUENCE_END = 10 ** SEQUENCE_DIGITS;
const ZERO = 48;

/** Data up to here is written with its head at once: the kernel takes it in one call, and the rows' floors were taken so. */
const WHOLE_BYTES_MAX = 1_048_576;
/** What is written at a time of larger data: about what a socket on loopback takes; smaller ones cost more calls. */
const PIECE_BYTES = 262_144;
const OPENING = '{"data":"';
const CLOSING = '"}';

const HEAD_END = Buffer.from('\r\n\r\n');
/** Node refuses heads above 16 KiB itself; past it the other side is not speaking HTTP. */
const HEAD_BYTES_MAX = 16_384;
const EMPTY = Buffer.alloc(0);

const ID = /\r\nce-id:[ \t]*([^\r]*)/i;
const CONTENT_LENGTH = /\r\ncontent-length:[ \t]*(\d+)/i;
const TRANSFER_ENCODING = /\r\ntransfer-encoding:/i;

/** A binary-mode CloudEvent as a POST request. */
export function requestTemplate(shape: EventShape): RequestTemplate {
  const beforeId = `POST ${shape.path} HTTP/1.1\r\nHost: ${shape.host}\r\nce-specversion: 1.0\r\nce-id: `;
  const afterId =
    `\r\nce-source: /bench\r\nce-type: ${shape.type}\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${shape.dataBytes}\r\n\r\n`;
  const id = eventId(shape.run, 0);
  const isLarge = shape.dataBytes > WHOLE_BYTES_MAX;
  const data = isLarge ? OPENING : jsonOfSize(shape.dataBytes);
  return {
    bytes: Buffer.from(beforeId + id + afterId + data, 'latin1'),
    idOffset: beforeId.length + id.length - SEQUENCE_DIGITS,
    pieces: isLarge ? piecesOfSize(shape.dataBytes - OPENING.length) : [],
  };
}

/** A private copy of the template: each connection overwrites the id in its own bytes. */
export function copyTemplate(template: RequestTemplate): RequestTemplate {
  return { ...template, bytes: Buffer.from(template.bytes) };
}

export function writeId(template: RequestTemplate, sequence: number): void {
  if (sequence >= SEQUENCE_END) throw new Error(`more than ${SEQUENCE_END} events in one run`);
  let rest = sequence;
  for (let at = template.idOffset + SEQUENCE_DIGITS - 1; at >= template.idOffset; at -= 1) {
    template.bytes[at] = ZERO + (rest % 10);
    rest = Math.trunc(rest / 10);
  }
}

/** `r<run>-<sequence>`, the sequence with leading zeros. */
export function eventId(run: number, sequence: number): string {
  return `r${run}-${String(sequence).padStart(SEQUENCE_DIGITS, '0')}`;
}

/** The sequence number of an event of this run; -1 for every other request. */
export function sequenceOf(head: string, run: number): number {
  const id = ID.exec(head)?.[1];
  const prefix = `r${run}-`;
  if (id?.startsWith(prefix) !== true) return -1;
  const sequence = Number(id.slice(prefix.length));
  return Number.isSafeInteger(sequence) ? sequence : -1;
}

/** Status of a response from its start line, `HTTP/1.1 202 Accepted`. */
export function statusOf(head: string): number {
  const status = Number(head.slice(9, 12));
  if (!head.startsWith('HTTP/1.') || !(status >= 100)) {
    throw new Error(`not an HTTP response: ${head.slice(0, 60)}`);
  }
  return status;
}

/** Path of a request from its start line, `POST /sink/0 HTTP/1.1`. */
export function pathOf(head: string): string {
  const start = head.indexOf(' ') + 1;
  return head.slice(start, head.indexOf(' ', start));
}

/**
 * A function that is fed what arrives on one connection and calls back once a message is whole. The chunk may be reused
 * by the caller afterwards, unless the body is kept.
 * @throws on a message it does not understand.
 */
export function createScanner(options: ScannerOptions): (chunk: Buffer) => void {
  let beginning: Buffer | undefined; // of a head that is not whole yet
  let head: string | undefined; // of a message whose body is still arriving
  let missingBytes = 0;
  let pieces: Buffer[] | undefined;

  return function feed(arrived: Buffer): void {
    let chunk = arrived;
    let at = 0;
    if (beginning !== undefined) {
      chunk = Buffer.concat([beginning, arrived]);
      beginning = undefined;
    }
    for (;;) {
      if (head === undefined) {
        if (at === chunk.length) return;
        const end = chunk.indexOf(HEAD_END, at);
        if (end === -1) {
          if (chunk.length - at > HEAD_BYTES_MAX) throw new Error('a head without an end');
          beginning = Buffer.from(chunk.subarray(at));
          return;
        }
        head = chunk.toString('latin1', at, end);
        at = end + HEAD_END.length;
        missingBytes = bodyBytes(head);
        pieces = options.keepsBody(head) ? [] : undefined;
      }
      const here = Math.min(missingBytes, chunk.length - at);
      if (here > 0) pieces?.push(chunk.subarray(at, at + here));
      at += here;
      missingBytes -= here;
      if (missingBytes > 0) return;
      const message = head;
      head = undefined;
      options.onMessage(message, joined(pieces));
    }
  };
}

function joined(pieces: readonly Buffer[] | undefined): Buffer {
  if (pieces === undefined) return EMPTY;
  const [only] = pieces;
  return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces);
}

function bodyBytes(head: string): number {
  const length = CONTENT_LENGTH.exec(head)?.[1];
  if (length !== undefined) return Number(length);
  if (TRANSFER_ENCODING.test(head)) {
    throw new Error(`this scanner reads no chunked bodies: ${head.slice(0, 60)}`);
  }
  return 0;
}

function jsonOfSize(bytes: number): string {
  const frameBytes = OPENING.length + CLOSING.length;
  if (bytes < frameBytes) throw new Error(`events have at least ${frameBytes} bytes of data`);
  return OPENING + 'x'.repeat(bytes - frameBytes) + CLOSING;
}

/** The rest of a JSON document after its opening. */
function piecesOfSize(bytes: number): Buffer[] {
  const same = Buffer.alloc(PIECE_BYTES, 'x');
  const count = Math.floor((bytes - CLOSING.length) / PIECE_BYTES);
  const last = 'x'.repeat(bytes - count * PIECE_BYTES - CLOSING.length) + CLOSING;
  return [...Array.from({ length: count }, () => same), Buffer.from(last, 'latin1')];
}
