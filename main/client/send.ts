/**
 * `knear send`: one event to a Broker, a Channel or any address that takes CloudEvents. The event has one `id` however
 * often it is sent, so that subscribers can tell a repetition; what is worth another try is what docs/sending.md says.
 */
import { binaryHeaders, structuredBody, structuredHeaders } from '../../core/codec.ts';
import { codeOf, KnearError } from '../../core/errors.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Clock, Random } from '../../core/ports/time.ts';
import { parseRetryAfter } from '../../dispatcher/deliver/answer.ts';
import { bytesData, readWhole, type EventData } from './event-data.ts';
import { post, type PostAnswer, type PostBody } from './post.ts';

export interface SendOptions {
  readonly url: URL;
  /** Without specversion and datacontenttype. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly data: EventData;
  /** Absent: what the data looks like. */
  readonly contentType?: string;
  readonly isStructured: boolean;
  /** Tries after the first one. */
  readonly retriesMax: number;
  readonly clock: Clock;
  readonly random: Random;
  pause(ms: number): Promise<void>;
  /** The body begins, again with each try. */
  onBegin?(sizeBytes: number | undefined): void;
  onSent?(bytes: number): void;
  /** A try failed, and another one comes after this time. */
  onRetry?(reason: string, delayMs: number): void;
}

export type Sent =
  | { readonly isAccepted: true; readonly status: string }
  /** `reason`: a line, with the code and the words of the receiver. */
  | { readonly isAccepted: false; readonly reason: string };

/**
 * Resolves with the last answer.
 * @throws KNEAR_UNREACHABLE when nothing answers the last try; KNEAR_USAGE for data that cannot be sent like this.
 */
export async function send(options: SendOptions): Promise<Sent> {
  const { url, data, clock, retriesMax, pause } = options;
  const { headers, body } = await messageOf(options);
  const counted = options.onSent && { onSent: options.onSent };
  for (let retry = 0; ; retry++) {
    options.onBegin?.(body.sizeBytes);
    const outcome = await tried(() => post({ url, headers, body, clock, ...counted }));
    const ending = endingOf(outcome);
    const isOver = ending === 'final' || retry >= retriesMax;
    const isSpent = body !== data ? false : !data.isRepeatable && isBegun(outcome);
    const delayMs = delayOf(outcome, retry, options);
    if (isOver || isSpent || delayMs > RETRY_AFTER_MAX_MS) return sentOf(outcome);
    options.onRetry?.(reasonOf(outcome), delayMs);
    await pause(delayMs);
  }
}

/** Attributes that have a flag of their own, or follow from one. */
const FLAGGED = ['specversion', 'id', 'source', 'type', 'subject', 'datacontenttype', 'data'];

/** `name=value`. @throws KNEAR_USAGE when it is no extension attribute. */
export function extensionOf(written: string): readonly [name: string, value: string] {
  const [, name = '', value = ''] = /^([^=]*)=(.*)$/s.exec(written) ?? [];
  const isOwn = /^[a-z0-9]+$/.test(name) && !FLAGGED.includes(name);
  if (isOwn && value !== '') return [name, value];
  const detail = isOwn
    ? `--extension ${written} has no value: write ${name}=value`
    : `--extension ${written} must be name=value, with a name of a to z and 0 to 9 that no other flag stands for`;
  throw new KnearError('KNEAR_USAGE', detail);
}

type Outcome =
  | { readonly kind: 'answer'; readonly answer: PostAnswer }
  | { readonly kind: 'silence'; readonly error: KnearError };

async function tried(attempt: () => Promise<PostAnswer>): Promise<Outcome> {
  try {
    return { kind: 'answer', answer: await attempt() };
  } catch (error) {
    if (codeOf(error) !== 'KNEAR_UNREACHABLE') throw error;
    // The only one who throws this code throws a KnearError.
    return { kind: 'silence', error: error as KnearError };
  }
}

async function messageOf(
  options: SendOptions,
): Promise<{ headers: readonly string[]; body: PostBody }> {
  const { attributes, data, isStructured } = options;
  const contentType = options.contentType ?? data.contentType;
  const all = new Map([['specversion', '1.0'], ...attributes]);
  if (contentType !== undefined) all.set('datacontenttype', contentType);
  const event: CloudEvent = { attributes: all, headers: new Map(), data: undefined };
  if (!isStructured) return { headers: binaryHeaders(event), body: data };
  const bytes = await readWhole(data);
  const whole = { ...event, data: bytes.byteLength > 0 ? bytes : undefined };
  return { headers: structuredHeaders(whole), body: bytesData(structuredBody(whole)) };
}

/** What may be sent again, and perhaps has to: docs/sending.md, "Answers". 502 and 504 come from what is in between. */
const RETRYABLE = [408, 429, 500, 502, 503, 504];

function endingOf(outcome: Outcome): 'final' | 'retryable' {
  if (outcome.kind === 'silence') return 'retryable';
  return RETRYABLE.includes(outcome.answer.status) ? 'retryable' : 'final';
}

/** Without an answer nobody knows how much has gone out; a connection that was refused took nothing, but is as rare. */
function isBegun(outcome: Outcome): boolean {
  return outcome.kind === 'silence' || outcome.answer.isBodyBegun;
}

const DELAY_FIRST_MS = 200;
const DELAY_MAX_MS = 10_000;
/** Who is asked to come back later than this is told so: nobody looks at a command for longer. */
const RETRY_AFTER_MAX_MS = 5 * 60_000;

/** At least what the receiver asks for; some more, so that many who were refused do not come back together. */
function delayOf(outcome: Outcome, retry: number, { random, clock }: SendOptions): number {
  const backoffMs = Math.min(DELAY_FIRST_MS * 2 ** retry, DELAY_MAX_MS);
  const asked = outcome.kind === 'answer' ? outcome.answer.headers['retry-after'] : undefined;
  const askedMs = parseRetryAfter(asked, clock.nowMs()) ?? 0;
  return askedMs + backoffMs * (0.5 + random.next() / 2);
}

function sentOf(outcome: Outcome): Sent {
  if (outcome.kind === 'silence') throw outcome.error;
  const { status, statusText } = outcome.answer;
  if (status >= 200 && status < 300) {
    return { isAccepted: true, status: `${status} ${statusText}`.trim() };
  }
  return { isAccepted: false, reason: reasonOf(outcome) };
}

/** Of a longer answer: it is for people, and most likely a page. */
const REASON_MAX_CHARACTERS = 300;

/** `CODE: words (413 Payload Too Large)`, or what there is of it. */
function reasonOf(outcome: Outcome): string {
  if (outcome.kind === 'silence') return `${outcome.error.code}: ${outcome.error.message}`;
  const { status, statusText, text } = outcome.answer;
  const line = `${status} ${statusText}`.trim();
  const { code, title, detail } = problemIn(text);
  const words = detail ?? title ?? text.replace(/\s+/g, ' ').trim();
  const shown = words.slice(0, REASON_MAX_CHARACTERS);
  if (code !== undefined) return `${code}: ${shown} (${line})`;
  return shown === '' ? line : `${line}: ${shown}`;
}

/** The members of a problem document that are texts; none when it is something else. */
function problemIn(text: string): { code?: string; title?: string; detail?: string } {
  try {
    // Whatever it is, it is only asked for its members, and `null` has none.
    const parsed = (JSON.parse(text) ?? {}) as Readonly<Record<string, unknown>>;
    const members = ['code', 'title', 'detail'].flatMap((name) =>
      typeof parsed[name] === 'string' ? [[name, parsed[name]] as const] : [],
    );
    return Object.fromEntries(members);
  } catch {
    return {};
  }
}
