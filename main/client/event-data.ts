/** The data of an event that is sent from the command line: a text, a file, or what is piped in. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { KnearError } from '../../core/errors.ts';
import type { PostBody } from './post.ts';

export type DataSource =
  | { readonly kind: 'none' }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'input'; readonly input: Readable };

export interface EventData extends PostBody {
  /** What it looks like; absent: there is no data. */
  readonly contentType?: string;
  /** Whether it can be read a second time. */
  readonly isRepeatable: boolean;
}

/** Where it comes from decides what it is called, unless the user says so. */
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.json': 'application/json',
  '.xml': 'application/xml',
  '.yaml': 'application/yaml',
  '.yml': 'application/yaml',
  '.txt': 'text/plain; charset=utf-8',
  '.csv': 'text/csv; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.pdf': 'application/pdf',
};
const UNKNOWN_TYPE = 'application/octet-stream';

/** Rejects with the error of the system when there is no such file. */
export async function openData(source: DataSource): Promise<EventData> {
  switch (source.kind) {
    case 'none':
      return { ...bytesData(Buffer.alloc(0)), isRepeatable: true };
    case 'text': {
      const contentType = isJson(source.text) ? 'application/json' : 'text/plain; charset=utf-8';
      return { ...bytesData(Buffer.from(source.text)), contentType, isRepeatable: true };
    }
    case 'file':
      return openFile(source.path);
    case 'input': {
      const { input } = source;
      return { open: () => input, contentType: UNKNOWN_TYPE, isRepeatable: false };
    }
  }
}

/** Structured mode has the data within a JSON text, so all of it has to be there; larger data goes in binary mode. */
const WHOLE_MAX_BYTES = 256 * 1024 * 1024;

/** @throws KNEAR_USAGE when it is too much. */
export async function readWhole(data: EventData): Promise<Uint8Array> {
  return buffer(Readable.from(bounded(data.open())));
}

export function bytesData(bytes: Uint8Array): PostBody {
  return {
    sizeBytes: bytes.byteLength,
    async *open() {
      if (bytes.byteLength > 0) yield await Promise.resolve(bytes);
    },
  };
}

async function openFile(path: string): Promise<EventData> {
  const { size, isFile } = await stat(path).then((found) => ({
    size: found.size,
    isFile: found.isFile(),
  }));
  const contentType = CONTENT_TYPES[extname(path).toLowerCase()] ?? UNKNOWN_TYPE;
  // `<(command)` and the like have no size and can be read once.
  if (!isFile) return { open: () => createReadStream(path), contentType, isRepeatable: false };
  return { sizeBytes: size, open: () => exactly(path, size), contentType, isRepeatable: true };
}

/** As many bytes as were promised, although somebody may write to the file at this moment. */
async function* exactly(path: string, sizeBytes: number): AsyncGenerator<Uint8Array> {
  if (sizeBytes === 0) return;
  let readBytes = 0;
  // Without an encoding, a file gives buffers.
  const pieces = createReadStream(path, { end: sizeBytes - 1 }) as AsyncIterable<Buffer>;
  for await (const piece of pieces) {
    readBytes += piece.byteLength;
    yield piece;
  }
  if (readBytes === sizeBytes) return;
  const detail = `${path} became shorter while it was sent: send it when nobody writes to it`;
  throw new KnearError('KNEAR_USAGE', detail);
}

async function* bounded(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let sizeBytes = 0;
  for await (const piece of pieces) {
    sizeBytes += piece.byteLength;
    if (sizeBytes > WHOLE_MAX_BYTES) {
      const detail = `--structured takes at most ${WHOLE_MAX_BYTES / 2 ** 20} MiB: leave it out to stream the data`;
      throw new KnearError('KNEAR_USAGE', detail);
    }
    yield piece;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
