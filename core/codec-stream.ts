/**
 * Structured mode for events that are too large to hold: read from a body that comes in pieces, written around data that
 * is sent in pieces. What comes out is what `codec-json.ts` makes of a body in memory, however it was cut.
 *
 * - K44 Only attributes are kept, and they are bounded. The data goes out as it comes in: JSON as it stands, its grammar,
 *   UTF-8 and depth checked on the way, text unescaped, base64 decoded.
 *
 * The members of an event may have any order, so the data may come before what says how it is to be read. Then it goes out
 * as it stands, and the end says whether `recoded` has to read it again.
 *
 * A byte that is no JSON ends it at once. What is wrong with the event is told when the whole body is known to be JSON, as
 * in memory; no more data goes out until then.
 */
import { strict as assert } from 'node:assert';

import type { IncomingHeaders } from './codec-headers.ts';
import { keptHeaders } from './codec-headers.ts';
import type { CarriedData, DataForm, MemberStart } from './codec-json.ts';
import {
  attributeValue,
  carriedData,
  frameOf,
  halfAPair,
  isJsonType,
  notBase64,
  takeName,
} from './codec-json.ts';
import type { JsonKind } from './codec-json-scan.ts';
import { unescaped } from './codec-json-scan.ts';
import { requireValid } from './codec-rules.ts';
import type { Part } from './codec-stream-members.ts';
import { MemberScan } from './codec-stream-members.ts';
import type { StringReader } from './codec-stream-string.ts';
import { Base64Reader, TextReader } from './codec-stream-string.ts';
import { codeOf, KnearError } from './errors.ts';
import type { AttributeValue, CloudEvent, FreshEvent, Inline } from './event.ts';
import { dataSizeBytes } from './event.ts';
import { asBuffer, WholeCharacters } from './utf8.ts';

/** All of the event but its data. */
export interface StructuredEnd {
  readonly event: Inline<FreshEvent>;
  /** An empty text is no data. If there is none, forget what `read` brought out. */
  readonly hasData: boolean;
  /** What `read` brought out is one well-formed JSON value in UTF-8. */
  readonly isJson?: true;
  /** What `read` brought out is not the data yet: `recoded` makes it. */
  readonly recode?: Recode;
}

/** How to make data of a JSON string. */
export interface Recode {
  readonly form: 'text' | 'base64';
  /** Of the string, quotes included. */
  readonly sizeBytes: number;
  /** Where it stood in the body. */
  readonly valueOffset: number;
}

/** The data, or what may be it, as it goes out. */
interface DataStream extends MemberStart {
  /** In which form it is read: decided before it comes. */
  readonly form: DataForm;
  /** Of all but JSON. */
  readonly reader: StringReader | undefined;
  /** What has come out so far. */
  sizeBytes: number;
}

/** One event: `read` for each piece of the body, then `finish`. Of no use after an error. */
export class StructuredReader {
  readonly #headers: IncomingHeaders;
  readonly #attributesMaxBytes: number;
  readonly #members = new MemberScan();
  readonly #attributes = new Map<string, AttributeValue>();
  readonly #names = new Set<string>();
  /** Of names and attributes, as they stand in the body. */
  #keptBytes = 0;
  #data: DataStream | undefined;
  #base64: DataStream | undefined;
  /** The first thing that is wrong with a member. */
  #refusal: KnearError | undefined;

  /** Of the member that is being read: what has come of its name or its attribute, a string without its quotes. */
  #text = '';
  #name: Pick<MemberStart, 'name' | 'nameOffset'> = { name: '', nameOffset: 0 };
  #keptName = '';

  constructor(headers: IncomingHeaders, limits: { readonly attributesMaxBytes: number }) {
    this.#headers = headers;
    this.#attributesMaxBytes = limits.attributesMaxBytes;
  }

  /**
   * @param piece the next one of the body, of any size.
   * @returns the bytes of the data that it brings out, views of it where that is possible.
   * @throws KNEAR_STRUCTURED_INVALID with an offset when the body is no JSON object; KNEAR_ATTRIBUTES_TOO_LARGE
   */
  read(piece: Uint8Array): readonly Uint8Array[] {
    const brought: Uint8Array[] = [];
    for (const part of this.#members.push(piece)) {
      // What is wrong is told at the end. Until then nothing is worth keeping.
      if (this.#refusal) continue;
      const data = this.#take(part);
      if (data !== undefined && data.byteLength > 0) brought.push(data);
    }
    return brought;
  }

  /**
   * All has come.
   * @throws KNEAR_STRUCTURED_INVALID with an offset when the body is not the JSON of an event; KNEAR_EVENT_INVALID naming
   *   the attribute when it is, but the event breaks a rule.
   */
  finish(): StructuredEnd {
    this.#members.finish();
    if (this.#refusal) throw this.#refusal;
    const attributes = this.#attributes;
    requireValid(attributes);
    const carried = carriedData(attributes, { data: this.#data, base64: this.#base64 });
    const event = { attributes, headers: keptHeaders(this.#headers), data: undefined };
    return { event, ...(carried ? dataEnd(carried) : { hasData: false }) };
  }

  /** @returns data that it brings out. */
  #take(part: Part): Uint8Array | undefined {
    if (part.of === 'name') {
      this.#keep(part);
      if (part.isLast) this.#takeName(part);
      return undefined;
    }
    switch (this.#keptName) {
      case 'data':
        this.#data ??= this.#dataStream(part, this.#formOfData(part.kind));
        return passOn(this.#data, part);
      case 'data_base64':
        this.#base64 ??= this.#dataStream(part, 'base64');
        return part.kind === 'string' ? passOn(this.#base64, part) : undefined;
      default:
        // Of objects and arrays nothing is kept: they are refused.
        if (part.kind !== 'object' && part.kind !== 'array') this.#keep(part);
        if (part.isLast) this.#takeAttribute(part);
        return undefined;
    }
  }

  #takeName({ offset: nameOffset }: Part): void {
    this.#refuseIf(() => {
      this.#name = { name: unescaped(this.#text), nameOffset };
      this.#keptName = takeName(this.#names, this.#name);
    });
    this.#text = '';
  }

  #takeAttribute({ kind, offset: valueOffset }: Part): void {
    this.#refuseIf(() => {
      const value = attributeValue({ ...this.#name, kind, valueOffset }, this.#text);
      if (value !== undefined) this.#attributes.set(this.#keptName, value);
    });
    this.#text = '';
  }

  /** Twice the bound, because what must be escaped, and text beyond ASCII that need not be, is longer in JSON. */
  #keep(part: Part): void {
    this.#keptBytes += part.bytes.byteLength;
    if (this.#keptBytes > 2 * this.#attributesMaxBytes) {
      throw attributesTooLarge(this.#attributesMaxBytes);
    }
    this.#text += asBuffer(insideOf(part)).toString('utf8');
  }

  #refuseIf(take: () => void): void {
    try {
      take();
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      // Only errors of ours have a code of ours.
      this.#refusal = error as KnearError;
    }
  }

  #dataStream({ kind, offset: valueOffset }: Part, form: DataForm): DataStream {
    const reader = form === 'json' ? undefined : readerOf(form);
    return { ...this.#name, kind, valueOffset, form, reader, sizeBytes: 0 };
  }

  /** JSON unless it is certain already that it is a string of another form. */
  #formOfData(kind: JsonKind): DataForm {
    const version = this.#attributes.get('specversion');
    if (kind !== 'string' || version === undefined) return 'json';
    if (version === '0.3') {
      if (this.#attributes.has('datacontentencoding')) return 'base64';
      if (!this.#names.has('datacontentencoding')) return 'json';
    }
    const contentType = this.#attributes.get('datacontenttype');
    return contentType === undefined || isJsonType(contentType) ? 'json' : 'text';
  }
}

function attributesTooLarge(maxBytes: number): KnearError {
  const problem = `the attributes take more than ${2 * maxBytes} bytes of the body`;
  const remedy = `send less in them, or allow more than ${maxBytes} (attributesMax)`;
  return new KnearError('KNEAR_ATTRIBUTES_TOO_LARGE', `${problem}: ${remedy}`);
}

/** What the part brings out of it. */
function passOn(data: DataStream, part: Part): Uint8Array {
  const out = data.reader ? data.reader.push(insideOf(part)) : part.bytes;
  data.sizeBytes += out.byteLength;
  return out;
}

/** Without the quotes, if it is a string. */
function insideOf({ kind, bytes, isFirst, isLast }: Part): Buffer {
  if (kind !== 'string') return bytes;
  return bytes.subarray(isFirst ? 1 : 0, isLast ? -1 : undefined);
}

/** What became of the data, now that it is certain in which form it had to be read. @throws KNEAR_STRUCTURED_INVALID */
function dataEnd({ member, form }: CarriedData<DataStream>): Omit<StructuredEnd, 'event'> {
  const { reader, sizeBytes, valueOffset } = member;
  if (form === 'json') return { hasData: true, isJson: true };
  if (reader) {
    assert.equal(form, member.form);
    if (!reader.finish()) throw unreadable(form, member);
    return { hasData: sizeBytes > 0 };
  }
  // Two quotes.
  if (sizeBytes === 2) return { hasData: false };
  return { hasData: true, recode: { form, sizeBytes, valueOffset } };
}

function readerOf(form: Recode['form']): StringReader {
  return form === 'text' ? new TextReader() : new Base64Reader();
}

function unreadable(
  form: Recode['form'],
  member: Pick<MemberStart, 'name' | 'valueOffset'>,
): KnearError {
  return form === 'text' ? halfAPair(member) : notBase64(member);
}

/**
 * The data, when `StructuredEnd` has `recode`.
 * @param pieces all that `read` brought out, cut in any way.
 * Throws KNEAR_STRUCTURED_INVALID with an offset.
 */
export async function* recoded(
  pieces: AsyncIterable<Uint8Array>,
  { form, sizeBytes, valueOffset }: Recode,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = readerOf(form);
  const characters = new WholeCharacters();
  let at = 0;
  for await (const piece of pieces) {
    // Without the quotes.
    const inside = piece.subarray(at === 0 ? 1 : 0, Math.max(0, sizeBytes - 1 - at));
    at += piece.byteLength;
    const data = reader.push(characters.push(inside));
    if (reader.isBroken) break;
    if (data.byteLength > 0) yield data;
  }
  if (!reader.finish()) throw unreadable(form, { name: 'data', valueOffset });
}

/** Whether the event's data is meant to be JSON: only then is it worth a check whether it is. */
export function isJsonData(event: Pick<CloudEvent, 'attributes'>): boolean {
  return isJsonType(event.attributes.get('datacontenttype'));
}

/**
 * What stands around the data of an event in structured mode: `head`, then the data as JSON or as `base64Pieces` writes it,
 * then `tail`. The same as `structuredBody` makes of the event with its data, but for text, which goes as base64: how long
 * it is with its escapes shows only after all of it (K38).
 */
export function structuredFrame(
  event: CloudEvent,
  form: 'json' | 'base64',
): { readonly head: Uint8Array; readonly tail: Uint8Array; readonly sizeBytes: number } {
  const frame = frameOf(event, form);
  const head = Buffer.from(frame.head);
  const tail = Buffer.from(frame.tail);
  const dataBytes = dataSizeBytes(event);
  const valueBytes = form === 'json' ? dataBytes : 4 * Math.ceil(dataBytes / 3);
  return { head, tail, sizeBytes: head.byteLength + valueBytes + tail.byteLength };
}

/** The same bytes as base64, padded. */
export async function* base64Pieces(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let held: Buffer = Buffer.alloc(0);
  for await (const piece of pieces) {
    const bytes = held.length === 0 ? asBuffer(piece) : Buffer.concat([held, piece]);
    const end = bytes.length - (bytes.length % 3);
    held = Buffer.from(bytes.subarray(end));
    if (end > 0) yield Buffer.from(bytes.toString('base64', 0, end), 'latin1');
  }
  if (held.length > 0) yield Buffer.from(held.toString('base64'), 'latin1');
}
