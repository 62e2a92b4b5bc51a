/**
 * `knear parked`: what the admin server tells of parked events (main/inside/parked.ts), for people and scripts, and what they want
 * done with them. It goes page by page and each page is decided when it is answered, so that it may be ended at any time.
 *
 * What is in events comes from strangers: whatever could steer a terminal is taken out of what people see.
 */
import { suggestion } from '../../controller/suggest.ts';
import { KnearError } from '../../core/errors.ts';
import { plain } from './plain.ts';
import { sizeText } from './amounts.ts';
import { askAdmin } from './ask-admin.ts';
import { columns } from './get.ts';
import type {
  ParkedCount,
  ParkedDone,
  ParkedPage,
  ParkedPayload,
  ParkedSummary,
  ParkedWhole,
  Refusal,
} from '../inside/parked.ts';
import { PAGE_MAX } from '../inside/parked-request.ts';

export const PARKED_FORMATS = ['table', 'json'] as const;
export type ParkedFormat = (typeof PARKED_FORMATS)[number];

interface Asked {
  readonly output: ParkedFormat;
  /** Of the admin server. */
  readonly adminUrl: string;
}

/** Whose parked events. */
export interface Owner extends Asked {
  /** As people write it: `trigger`, `triggers`, `Trigger`, `sub`. */
  readonly kind: string;
  readonly name: string;
  /** `default` where there is none. */
  readonly namespace?: string;
}

export interface Act extends Owner {
  /** Absent: all of them. */
  readonly positions?: readonly number[];
}

/** What came of it, and whether all of it was done. */
export interface Report {
  readonly text: string;
  readonly isDone: boolean;
}

/**
 * Without a name how many each has, with one which.
 * @throws KNEAR_USAGE for a kind that has no parked events, KNEAR_RESOURCE_UNKNOWN, KNEAR_ADMIN_UNREACHABLE.
 */
export async function listParked(
  options: Asked & Partial<Pick<Owner, 'kind' | 'name' | 'namespace'>>,
): Promise<string> {
  const { kind, name } = options;
  return kind !== undefined && name !== undefined
    ? listEntries({ ...options, kind, name })
    : listCounts(options);
}

/** One parked event with its data. @throws as `listParked` */
export async function showParked(owner: Owner, position: number): Promise<string> {
  // What the admin server of this very program sends; so are the other answers here.
  const entry = (await askAdmin(owner.adminUrl, `${pathOf(owner)}/${position}`)) as ParkedWhole;
  return owner.output === 'json' ? jsonOf(entry) : wholeText(entry);
}

/**
 * @param to an address that gets each event once, in place of the subscriber; what it takes is not parked any more.
 * @throws as `listParked`; KNEAR_UNREACHABLE when nobody is at the other address.
 */
export async function replayParked(act: Act, to?: string): Promise<Report> {
  const done = await actOnAll(act, 'replay', to !== undefined ? { to } : {});
  return reportOf(act, done, to === undefined ? 'Replayed' : `Sent to ${to}`);
}

/** @throws as `listParked` */
export async function dropParked(act: Act): Promise<Report> {
  return reportOf(act, await actOnAll(act, 'drop', {}), 'Dropped');
}

// --- looking ----------------------------------------------------------------------------------------------------------

async function listCounts({
  kind,
  namespace,
  output,
  adminUrl,
}: Asked & Partial<Pick<Owner, 'kind' | 'namespace'>>): Promise<string> {
  const wanted = kind === undefined ? undefined : kindOf(kind);
  const { parked } = (await askAdmin(adminUrl, '/parked')) as { parked: readonly ParkedCount[] };
  const found = parked.filter(({ resourceId }) => {
    const [ownKind, ownNamespace] = resourceId.split('/');
    return (wanted ?? ownKind) === ownKind && (namespace ?? ownNamespace) === ownNamespace;
  });
  if (output === 'json') return jsonOf(found);
  const rows = found.map(({ resourceId, count, oldest, isServed }) => {
    const [ownKind = '', ownNamespace = '', name = ''] = resourceId.split('/');
    return [
      ownNamespace,
      `${ownKind.toLowerCase()}/${name}`,
      String(count),
      oldest ? timeText(oldest.atMs) : '',
      isServed ? '' : 'deleted',
    ];
  });
  const total = countText(found.reduce((sum, { count }) => sum + count, 0));
  return tableOf(['NAMESPACE', 'NAME', 'PARKED', 'OLDEST', ''], rows, total);
}

async function listEntries(owner: Owner): Promise<string> {
  const entries: ParkedSummary[] = [];
  for (let after = 0, isMore = true; isMore;) {
    const path = `${pathOf(owner)}?after=${after}&limit=${PAGE_MAX}`;
    const page = (await askAdmin(owner.adminUrl, path)) as ParkedPage;
    entries.push(...page.entries);
    after = page.last ?? after;
    isMore = page.isMore;
  }
  if (owner.output === 'json') return jsonOf(entries);
  const rows = entries.map(({ position, id, source, type, atMs, failure }) =>
    [String(position), id, source, type, timeText(atMs), reasonText(failure), failure.dest].map(
      plain,
    ),
  );
  const head = ['POSITION', 'ID', 'SOURCE', 'TYPE', 'PARKED', 'REASON', 'ADDRESS'];
  return tableOf(head, rows, countText(entries.length));
}

function tableOf(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  total: string,
): string {
  return rows.length === 0 ? `${total}\n` : `${columns([head, ...rows])}${total}\n`;
}

function wholeText({ position, atMs, failure, event }: ParkedWhole): string {
  const { code, status, dest, ...failureData } = failure;
  const lines: readonly (readonly [string, string])[] = [
    ['position', String(position)],
    ['parked', timeText(atMs)],
    ['reason', reasonText({ code, status })],
    ['address', dest],
    ...answerLine(failureData),
    ...Object.entries(event.attributes).map(([name, value]) => [name, String(value)] as const),
    ...Object.entries(event.headers).map(([name, value]) => [`header ${name}`, value] as const),
  ];
  const text = columns(lines.map(([name, value]) => [name, plain(value)]));
  const { data, dataBase64, payload } = event;
  if (payload) return `${text}\n${payloadText(payload)}`;
  if (data !== undefined) return `${text}\n${data.split('\n').map(plain).join('\n')}\n`;
  return dataBase64 === undefined ? text : `${text}\nBase64: ${dataBase64}\n`;
}

function payloadText({ id, sizeBytes, sha256 }: ParkedPayload): string {
  const facts = `Data: claimed, ${sizeText(sizeBytes)}, sha256 ${sha256}`;
  return `${facts}\nTo get it: knear payload show ${id} --data FILE\n`;
}

function answerLine({ data, dataBase64 }: { data?: string; dataBase64?: string }) {
  if (data !== undefined) return [['answer', data]] as const;
  return dataBase64 === undefined ? [] : ([['answer', `Base64: ${dataBase64}`]] as const);
}

// --- acting -----------------------------------------------------------------------------------------------------------

/** A page to another address takes at most 15 s: 5 s, and one attempt that began at their end. */
const PAGE_PATIENCE_MS = 30_000;

async function actOnAll(
  act: Act,
  verb: 'replay' | 'drop',
  more: { readonly to?: string },
): Promise<{ count: number; refused: Refusal[] }> {
  const sum = { count: 0, refused: [] as Refusal[] };
  let left = act.positions && [...new Set(act.positions)].toSorted((one, two) => one - two);
  let until: Pick<ParkedDone, 'untilMs'> = {};
  for (let after = 0, isMore = true; isMore;) {
    const which = left
      ? { positions: left.slice(0, PAGE_MAX) }
      : { after, limit: PAGE_MAX, ...until };
    const done = (await askAdmin(act.adminUrl, `${pathOf(act)}/${verb}`, {
      body: { ...which, ...more },
      patienceMs: PAGE_PATIENCE_MS,
    })) as ParkedDone;
    sum.count += done.count;
    sum.refused.push(...done.refused);
    if (done.stopped !== undefined) throw stoppedError(done.stopped, sum.count);
    after = done.last ?? after;
    if (done.untilMs !== undefined) until = { untilMs: done.untilMs };
    // Of named ones a page may end early; what is behind `last` was not tried.
    left = done.last === null ? left?.slice(PAGE_MAX) : left?.filter((each) => each > after);
    isMore = left ? left.length > 0 : done.isMore;
  }
  return sum;
}

function stoppedError(why: string, count: number): KnearError {
  const detail = `${why}; ${count} were sent before, the others are parked as they were: go on when it can be reached`;
  return new KnearError('KNEAR_UNREACHABLE', detail);
}

/** As many as a person reads. */
const REFUSALS_SHOWN = 10;

function reportOf(
  act: Act,
  { count, refused }: { count: number; refused: readonly Refusal[] },
  what: string,
): Report {
  const named = act.positions && new Set(act.positions).size;
  const missing = named === undefined ? 0 : named - count - refused.length;
  const isDone = missing === 0 && refused.length === 0;
  if (act.output === 'json') return { text: jsonOf({ count, missing, refused }), isDone };
  const { kind, name, namespace = DEFAULT } = act;
  const lines = [
    `${what}: ${count} parked ${events(count)} of ${kindOf(kind)} ${namespace}/${name}.`,
  ];
  if (missing > 0) lines.push(`Not parked, or not any more: ${missing} of the positions.`);
  if (refused.length > 0) lines.push(`Not taken, and still parked: ${refused.length}.`);
  for (const { position, code, status } of refused.slice(0, REFUSALS_SHOWN)) {
    lines.push(`  ${position}  ${reasonText({ code, status })}`);
  }
  if (refused.length > REFUSALS_SHOWN) lines.push('  ...');
  return { text: `${lines.join('\n')}\n`, isDone };
}

// --- small things -----------------------------------------------------------------------------------------------------

const DEFAULT = 'default';

/** What has events to deliver, as kubectl knows it. A Sequence or Parallel has Subscriptions that do it. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  Trigger: ['trigger', 'triggers'],
  Subscription: ['subscription', 'subscriptions', 'sub'],
};

function kindOf(written: string): string {
  const wanted = written.toLowerCase();
  const [kind] = Object.entries(KINDS).find(([, names]) => names.includes(wanted)) ?? [];
  if (kind !== undefined) return kind;
  const names = Object.values(KINDS).flatMap(([first = '']) => first);
  const hint = suggestion(wanted, names) || `: ${names.join(' and ')} have`;
  throw new KnearError('KNEAR_USAGE', `no ${written} has parked events${hint}`);
}

function pathOf({ kind, name, namespace = DEFAULT }: Owner): string {
  return `/parked/${[kindOf(kind), namespace, name].map(encodeURIComponent).join('/')}`;
}

function jsonOf(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function reasonText({ code, status }: { readonly code: string; readonly status: number }): string {
  return status === 0 ? code : `${code} ${status}`;
}

function countText(count: number): string {
  return count === 1 ? '1 event is parked.' : `${count} events are parked.`;
}

function events(count: number): string {
  return count === 1 ? 'event' : 'events';
}

/** To the second: nobody parks by hand. */
function timeText(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19)}Z`;
}
