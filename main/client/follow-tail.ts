/**
 * `knear tail`: shows what main/inside/tail.ts streams, as JSON lines or for people. Events come from strangers: whatever could
 * steer a terminal is taken out of what people see, and a line is no longer than the terminal of most.
 */
import { codeOf, KnearError, messageOf } from '../../core/errors.ts';
import type { Addressee } from './addressee.ts';
import { sizeText } from './amounts.ts';
import { plain } from './plain.ts';
import type { TailEvent, TailLine } from '../inside/tail.ts';

export interface FollowOptions {
  readonly adminUrl: string;
  readonly addressee: Addressee;
  readonly type?: string | undefined;
  /** An expression in CESQL, or `filters` as JSON. */
  readonly filter?: string | undefined;
  readonly output: TailFormat;
  readonly hasColour: boolean;
  /** Each line with its end, as it comes. */
  print(text: string): void;
  /** Called once events are followed: whatever is sent from now on is seen. */
  onOpen(): void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

export const TAIL_FORMATS = ['text', 'json'] as const;
export type TailFormat = (typeof TAIL_FORMATS)[number];

/**
 * Resolves when the signal says so.
 * @throws KNEAR_USAGE for a filter that is none, KNEAR_RESOURCE_UNKNOWN, KNEAR_OVERLOADED when too many follow already,
 *   KNEAR_ADMIN_UNREACHABLE when knear ends or goes away.
 */
export async function followTail(options: FollowOptions): Promise<void> {
  const { adminUrl, signal } = options;
  try {
    const response = await fetch(addressOf(options), { signal });
    if (!response.ok || response.body === null) throw await refusalOf(response);
    for await (const line of linesOf(response.body)) show(line, options);
    throw new KnearError('KNEAR_ADMIN_UNREACHABLE', `the knear at ${adminUrl} has ended`);
  } catch (error) {
    if (signal.aborted) return;
    if (codeOf(error) !== undefined) throw error;
    const why = error instanceof Error && error.cause !== undefined ? error.cause : error;
    const detail = `the knear at ${adminUrl} does not answer any more (${messageOf(why)})`;
    throw new KnearError('KNEAR_ADMIN_UNREACHABLE', detail, { cause: error });
  }
}

function addressOf({ adminUrl, addressee, type, filter }: FollowOptions): URL {
  const { kind, namespace, name } = addressee;
  const path = [kind, namespace, name].map(encodeURIComponent).join('/');
  const url = new URL(`/tail/${path}`, adminUrl);
  if (type !== undefined) url.searchParams.set('type', type);
  if (filter !== undefined) url.searchParams.set('filter', filter);
  return url;
}

async function refusalOf(response: Response): Promise<KnearError> {
  const problem = problemIn(await response.text());
  const code = codeOf(problem);
  if (code !== undefined) return new KnearError(code, problem.detail ?? response.statusText);
  const told = `it answers ${response.status}: is it a knear of another version?`;
  return new KnearError('KNEAR_ADMIN_UNREACHABLE', `no tail at ${response.url}: ${told}`);
}

function problemIn(text: string): { readonly code?: unknown; readonly detail?: string } {
  try {
    // A problem document is an object (RFC 9457).
    return (JSON.parse(text) ?? {}) as { readonly code?: unknown; readonly detail?: string };
  } catch {
    return {};
  }
}

/** Without those that are empty: they only show that somebody is there. */
async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const piece of body) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines.filter((line) => line !== '');
  }
}

function show(text: string, options: FollowOptions): void {
  // What main/inside/tail.ts of this very program sends.
  const line = JSON.parse(text) as TailLine;
  if (line.kind === 'opened') options.onOpen();
  else if (options.output === 'json') options.print(`${text}\n`);
  else options.print(textOf(line, options.hasColour));
}

const COLUMNS_MAX = 100;

/** Lines for people. @param hasColour what is less important is dim, what needs a look is yellow. */
export function textOf(line: Exclude<TailLine, { kind: 'opened' }>, hasColour: boolean): string {
  const paint = hasColour
    ? (code: number, text: string) => `\u001b[${code}m${text}\u001b[0m`
    : (_code: number, text: string) => text;
  if (line.kind === 'gap') {
    const events = line.count === 1 ? 'event' : 'events';
    return `${paint(YELLOW, `… ${line.count} ${events} not shown`)}\n`;
  }
  const { attributes, acceptedAt, isMatched } = line;
  const time = acceptedAt.slice(11);
  const size = dataSizeText(line);
  const note = isMatched ? '' : '(nobody wants it)';
  const words = [attributes['type'], attributes['source'], attributes['id']].map(lineOf);
  const taken = [time, size, note].reduce((sum, each) => sum + each.length + 2, 0);
  const head = cut(words.join('  '), COLUMNS_MAX - taken);
  const ending = note === '' ? '' : `  ${paint(YELLOW, note)}`;
  const first = `${paint(DIM, time)}  ${head}  ${size}${ending}\n`;
  const data = dataText(line);
  return data === '' ? first : `${first}${paint(DIM, data)}\n`;
}

const DIM = 2;
const YELLOW = 33;

function dataText({ data, isCut }: TailEvent): string {
  if (data === undefined || data === '') return '';
  return cut(`  ${lineOf(data)}${isCut === true ? '…' : ''}`, COLUMNS_MAX);
}

function dataSizeText({ dataBytes, payload }: TailEvent): string {
  if (dataBytes === 0) return 'no data';
  const size = sizeText(dataBytes);
  return payload === undefined ? size : `${size} claimed`;
}

/** On one line. */
function lineOf(value: unknown): string {
  return plain(String(value).trim().replace(/\s+/g, ' '));
}

function cut(text: string, columnsMax: number): string {
  if (columnsOf(text) <= columnsMax) return text;
  let shown = '';
  let columns = 1; // for the mark at the end
  for (const character of text) {
    columns += columnsOf(character);
    if (columns > columnsMax) break;
    shown += character;
  }
  return `${shown}…`;
}

const WIDE =
  /[\p{Emoji_Presentation}\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\uff01-\uff60]/u;

/** As terminals have it, for all but rare characters: two columns for wide ones, none for what sits on another. */
function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) {
    if (WIDE.test(character)) columns += 2;
    else if (!/\p{M}/u.test(character)) columns += 1;
  }
  return columns;
}
