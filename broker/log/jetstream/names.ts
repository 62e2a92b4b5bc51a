/**
 * Names on the server: streams, subjects and durables, out of ids and types that may hold anything.
 *
 *   <prefix>.<stream>.e.<ingress>.<part>.<c|i>.<type>    events
 *   <prefix>.<stream>.w.<egress>.<c|i>                   Work that is due
 *   <prefix>.<stream>.t.<egress>.<c|i>.<id>              Work that is due later, as a schedule that leads to `w`
 *   <prefix>.<stream>.p.<egress>.<c|i>.<id>              parked entries, as schedules that lead to `x`
 *   <prefix>.<stream>.x.<egress>                         parked entries that are too old: nobody listens, so they end
 *
 * `c` has claimed data, `i` has none: a collector of payloads has to look at `c` only.
 */
import { createHash } from 'node:crypto';

import { claimOf, type CloudEvent } from '../../../core/event.ts';
import { numberOf } from '../../../core/hash.ts';

/** How many lines a stream has for events whose order counts: the keys of one share a line. */
export const PARTS = 16;

/** The durable that nobody pulls from: without interest, the server would drop what is published to `t` and `p`. */
export const HOLD = 'hold';

/** 96 bits in letters, digits, `-` and `_`: no two ids of one server share them by chance. */
export function tokenOf(id: string): string {
  return createHash('sha256').update(id).digest('base64url').slice(0, 16);
}

/** A longer type becomes its hash: the server reads a subject with all else of a command in a line of 4,096 bytes. */
const TYPE_MAX_BYTES = 120;

/**
 * A type as one token of a subject. Total and injective: letters, digits, `_` and `-` stay, `.` becomes `:`, every other
 * byte of the UTF-8 form `=XX`; a long one `~` and its SHA-256. A type as it is could be a wildcard, or end the connection.
 */
export function typeToken(type: string): string {
  if (/^[\w.-]+$/.test(type) && type.length <= TYPE_MAX_BYTES) return type.replaceAll('.', ':');
  const bytes = Buffer.from(type, 'utf8');
  const token = type === '' ? '=' : bytes.toString('latin1').replace(/[^\w-]/g, escapeByte);
  if (token.length <= TYPE_MAX_BYTES && type.isWellFormed()) return token;
  return `~${createHash('sha256').update(Buffer.from(type, 'utf16le')).digest('base64url')}`;
}

function escapeByte(byte: string): string {
  if (byte === '.') return ':';
  return `=${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}

/** Which line of an ordered egress an event is in: that of its key; without a key, any. */
export function partOf(event: CloudEvent): number {
  const { attributes } = event;
  const key = attributes.get('partitionkey') ?? attributes.get('id') ?? '';
  return numberOf(String(key)) % PARTS;
}

/** The subjects of one stream. */
export class Subjects {
  readonly #start: string;
  /** Of its ingresses: a hash costs more than all else of a subject. */
  readonly #tokens = new Map<string, string>();

  constructor(prefix: string, stream: string) {
    this.#start = `${prefix}.${stream}`;
  }

  /** All of them. */
  get all(): string {
    return `${this.#start}.>`;
  }

  /** What `hold` is interested in. */
  get held(): string[] {
    return [`${this.#start}.t.>`, `${this.#start}.p.>`];
  }

  event(ingressId: string, event: CloudEvent): string {
    const type = typeToken(String(event.attributes.get('type') ?? ''));
    return `${this.#start}.e.${this.#tokenOf(ingressId)}.${partOf(event)}.${mark(event)}.${type}`;
  }

  #tokenOf(ingressId: string): string {
    let token = this.#tokens.get(ingressId);
    if (token === undefined) this.#tokens.set(ingressId, (token = tokenOf(ingressId)));
    return token;
  }

  /** Filter for events of an ingress; absent type or part: any. */
  events(ingressId: string, { type, part }: { type?: string; part?: number }): string {
    const line = part === undefined ? '*' : String(part);
    const last = type === undefined ? '*' : typeToken(type);
    return `${this.#start}.e.${tokenOf(ingressId)}.${line}.*.${last}`;
  }

  work(egress: string, event: CloudEvent): string {
    return `${this.#start}.w.${egress}.${mark(event)}`;
  }

  works(egress: string): string {
    return `${this.#start}.w.${egress}.*`;
  }

  timer(egress: string, event: CloudEvent, id: string): string {
    return `${this.#start}.t.${egress}.${mark(event)}.${id}`;
  }

  timers(egress: string): string {
    return `${this.#start}.t.${egress}.>`;
  }

  parked(egress: string, event: CloudEvent, id: string): string {
    return `${this.#start}.p.${egress}.${mark(event)}.${id}`;
  }

  parkedOf(egress: string): string {
    return `${this.#start}.p.${egress}.>`;
  }

  expired(egress: string): string {
    return `${this.#start}.x.${egress}`;
  }

  /** The token of the ingress that an event came by. */
  static ingress(subject: string): string {
    return /\.e\.([\w-]+)\.\d+\.[ci]\.[^.]+$/.exec(subject)?.[1] ?? '';
  }

  /** What a held subject is and whose. */
  static held(subject: string): { readonly kind: 't' | 'p'; readonly egress: string } | undefined {
    const [, kind, egress] = /\.([tp])\.([\w-]+)\.[ci]\.[^.]+$/.exec(subject) ?? [];
    return (kind === 't' || kind === 'p') && egress !== undefined ? { kind, egress } : undefined;
  }
}

function mark(event: CloudEvent): 'c' | 'i' {
  return claimOf(event) ? 'c' : 'i';
}
