/**
 * What the admin server tells of parked events, and what it does with them (docs/admin-api.md).
 *
 *   GET  /parked                                     how many each Trigger and Subscription has
 *   GET  /parked/:kind/:namespace/:name              which, page by page
 *   GET  /parked/:kind/:namespace/:name/:position    one of them, whole
 *   POST /parked/:kind/:namespace/:name/replay       delivered anew, to the same subscriber or once to another address
 *   POST /parked/:kind/:namespace/:name/drop         gone for good
 *
 * A page to the same subscriber, or of a drop, is one commit of the log; to another address each event is one. So
 * whoever is interrupted goes on after `last`.
 */
import { isUtf8 } from 'node:buffer';

import type { Logger } from 'pino';

import { KnearError } from '../../core/errors.ts';
import { attributeText, claimOf, inlineData, payloadId } from '../../core/event.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Deliverer, Outcome } from '../../core/ports/deliverer.ts';
import type { EventLog, Failure, ParkedEntry, Position } from '../../core/ports/event-log.ts';
import type { Payloads } from '../../core/ports/payloads.ts';
import type { Clock } from '../../core/ports/time.ts';
import { forSubscriber } from '../../core/rules/admit.ts';
import type { ClaimPolicy, Topology } from '../../core/topology.ts';
import { openHttpDeliverer } from '../../dispatcher/deliver/http.ts';
import type { AdminRequest, AdminRoute } from '../admin.ts';
import { chosenIn, pageIn } from './parked-request.ts';
import type { Chosen } from './parked-request.ts';

export interface ParkedOptions {
  readonly log: EventLog;
  readonly payloads: Payloads;
  readonly clock: Clock;
  readonly logger: Logger;
  topology(): Topology;
}

interface ParkedContext extends ParkedOptions {
  /** For events that go to another address. */
  readonly deliverer: Deliverer;
}

export interface Parked {
  readonly routes: readonly AdminRoute[];
  close(): Promise<void>;
}

/** How many one Trigger or Subscription has. */
export interface ParkedCount {
  /** As `/resources` names it: kind/namespace/name. */
  readonly resourceId: string;
  readonly count: number;
  /** False: its resource was deleted; what is parked goes after the time of `goneAfter`. */
  readonly isServed: boolean;
  /** Absent where it cannot be read. */
  readonly oldest?: { readonly position: Position; readonly atMs: number };
}

/** One entry of a page. */
export interface ParkedSummary {
  readonly position: Position;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  /** Wall time at which it was parked. */
  readonly atMs: number;
  readonly failure: Omit<Failure, 'data'>;
}

export interface ParkedPage {
  readonly entries: readonly ParkedSummary[];
  /** The page after this one begins `after` it. */
  readonly last: Position | null;
  readonly isMore: boolean;
}

/** One entry, whole. Data that is text is given as text, to the letter, else as Base64; absent: there is none. */
export interface ParkedWhole {
  readonly position: Position;
  readonly atMs: number;
  readonly failure: Omit<Failure, 'data'> & Data;
  readonly event: {
    readonly attributes: Readonly<Record<string, string | number | boolean>>;
    readonly headers: Readonly<Record<string, string>>;
    /** In place of the data, where it is claimed. */
    readonly payload?: ParkedPayload;
  } & Data;
}

export interface ParkedPayload {
  /** Names it in the payload store. */
  readonly id: string;
  readonly sizeBytes: number;
  /** base64url */
  readonly sha256: string;
}

interface Data {
  readonly data?: string;
  readonly dataBase64?: string;
}

/** What came of a page of a replay or a drop. */
export interface ParkedDone {
  /** Replayed, dropped, or taken by the other address. */
  readonly count: number;
  /** The last one that was looked at; go on after it. */
  readonly last: Position | null;
  readonly isMore: boolean;
  /** Of a page: until when those were parked that it is about. To be said of the next page, too. */
  readonly untilMs?: number;
  /** What the other address did not take; it stays parked. */
  readonly refused: readonly Refusal[];
  /** The other address cannot be reached at all: nothing after `last` was tried. */
  readonly stopped?: string;
}

export interface Refusal {
  readonly position: Position;
  readonly code: string;
  readonly status: number;
}

export function openParked(options: ParkedOptions): Parked {
  const { clock, payloads } = options;
  const deliverer = openHttpDeliverer({ clock, payloads });
  return { routes: routesOf({ ...options, deliverer }), close: () => deliverer.close() };
}

function routesOf(context: ParkedContext): AdminRoute[] {
  const path = '/parked/:kind/:namespace/:name';
  return [
    { method: 'GET', path: '/parked', answer: async () => ({ parked: await countsOf(context) }) },
    { method: 'GET', path, answer: (request) => list(context, request) },
    { method: 'GET', path: `${path}/:position`, answer: (request) => whole(context, request) },
    { method: 'POST', path: `${path}/replay`, answer: (request) => replay(context, request) },
    { method: 'POST', path: `${path}/drop`, answer: (request) => drop(context, request) },
  ];
}

async function countsOf({ log, topology }: ParkedContext): Promise<ParkedCount[]> {
  const { egresses } = topology();
  const counts: ParkedCount[] = log
    .egressIds()
    .toSorted()
    .map((id) => ({ resourceId: id, count: log.lag(id).parked, isServed: egresses.has(id) }))
    .filter(({ count }) => count > 0);
  // One after the other, so that no more than one event is in memory, however many egresses there are.
  const told: ParkedCount[] = [];
  for (const each of counts) told.push({ ...each, ...(await oldestOf(log, each.resourceId)) });
  return told;
}

/** A damaged entry is no reason not to say how many there are. */
async function oldestOf(log: EventLog, id: string): Promise<Pick<ParkedCount, 'oldest'>> {
  try {
    const [entry] = await log.parked(id, { limit: 1 });
    return entry ? { oldest: { position: entry.position, atMs: entry.atMs } } : {};
  } catch {
    return {};
  }
}

async function list(context: ParkedContext, { params, query }: AdminRequest): Promise<ParkedPage> {
  const id = resourceIn(context, params);
  const page = pageIn(query);
  const entries: ParkedSummary[] = [];
  for await (const entry of entriesOf(context, id, page)) entries.push(summaryOf(entry));
  const last = entries.at(-1)?.position ?? null;
  return { entries, last, isMore: await isMoreAfter(context, id, last) };
}

async function whole(context: ParkedContext, { params }: AdminRequest): Promise<ParkedWhole> {
  const id = resourceIn(context, params);
  const { position: written = '' } = params;
  const entry = /^\d{1,15}$/.test(written)
    ? await entryAt(context, id, Number(written))
    : undefined;
  if (!entry) {
    const detail = `${id} has no parked event at position ${written}: see knear parked list`;
    throw new KnearError('KNEAR_RESOURCE_UNKNOWN', detail);
  }
  const { position, atMs, event, failure } = entry;
  const { data, ...why } = failure;
  return {
    position,
    atMs,
    failure: { ...why, ...textOrBase64(data) },
    event: {
      attributes: Object.fromEntries(event.attributes),
      headers: Object.fromEntries(event.headers),
      ...textOrBase64(inlineData(event)),
      ...payloadOf(event),
    },
  };
}

async function replay(context: ParkedContext, { params, body }: AdminRequest): Promise<ParkedDone> {
  const id = resourceIn(context, params);
  const { log, logger, topology, clock } = context;
  const { to, ...choice } = chosenIn(body);
  const chosen = begun(choice.chosen, clock);
  if (to !== undefined) return sendElsewhere(context, id, { chosen, to });
  if (!topology().egresses.has(id)) {
    const detail = `${id} is not served: create it again, or name another address for its parked events`;
    throw new KnearError('KNEAR_RESOURCE_UNKNOWN', detail);
  }
  const done = await inOneCommit(context, chosen, { id, act: (...which) => log.replay(...which) });
  logger.info({ egressId: id, count: done.count }, 'parked events are delivered anew');
  return done;
}

/** The log itself tells what is dropped. */
function drop(context: ParkedContext, { params, body }: AdminRequest): Promise<ParkedDone> {
  const id = resourceIn(context, params);
  const { to, ...choice } = chosenIn(body);
  const chosen = begun(choice.chosen, context.clock);
  if (to !== undefined)
    throw new KnearError('KNEAR_USAGE', 'what is dropped goes nowhere: no `to`');
  const act: EventLog['dropParked'] = (...which) => context.log.dropParked(...which);
  return inOneCommit(context, chosen, { id, act });
}

async function inOneCommit(
  context: ParkedContext,
  chosen: Chosen,
  { id, act }: { id: string; act: EventLog['replay'] },
): Promise<ParkedDone> {
  const positions: Position[] = [];
  if (chosen.kind === 'named') positions.push(...chosen.positions);
  else for await (const { position } of entriesOf(context, id, chosen)) positions.push(position);
  const count = await act(id, positions);
  const last = positions.at(-1) ?? null;
  const isMore = chosen.kind === 'page' && (await isMoreAfter(context, id, last, chosen.untilMs));
  return { count, last, isMore, ...untilOf(chosen), refused: [] };
}

/** 5 s: whoever asked hears of it before he loses patience, and goes on after `last`. */
const ELSEWHERE_MS = 5_000;
/** 10 s for one event: a repaired subscriber answers sooner, and one that hangs is not worth more of a page's time. */
const ATTEMPT_MS = 10_000;

/** One at a time, in their order. What is taken leaves at once, so that a crash repeats one event at most. */
async function sendElsewhere(
  context: ParkedContext,
  id: string,
  { chosen, to }: { chosen: Chosen; to: string },
): Promise<ParkedDone> {
  const { log, clock, logger } = context;
  const untilMs = clock.monotonicMs() + ELSEWHERE_MS;
  const refused: Refusal[] = [];
  const end: { count: number; last: Position | null; stopped?: string } = { count: 0, last: null };
  for await (const entry of entriesOf(context, id, chosen)) {
    if (end.last !== null && clock.monotonicMs() > untilMs) break;
    const outcome = await sendOnce(context, id, { entry, to });
    if (outcome.kind === 'unreachable' && outcome.code === 'KNEAR_UNREACHABLE') {
      end.stopped = outcome.detail;
      break;
    }
    const { position } = entry;
    end.last = position;
    const refusal = refusalOf(outcome);
    if (refusal) refused.push({ position, ...refusal });
    else end.count += await log.dropParked(id, [position]);
  }
  // Without what may be secret in it.
  const { origin } = new URL(to);
  const { count } = end;
  logger.info({ egressId: id, count, to: origin }, 'parked events were sent to another address');
  const isMore = await isLeft(context, id, { chosen, last: end.last });
  return { ...end, refused, isMore, ...untilOf(chosen) };
}

const NO_REPLY: ClaimPolicy = { inlineMaxBytes: 0, replyMaxBytes: 0, batchMaxBytes: 0 };

/** As the subscriber would have got it, but that nobody waits for a reply. */
function sendOnce(
  { deliverer, topology }: ParkedContext,
  id: string,
  { entry, to }: { entry: ParkedEntry; to: string },
): Promise<Outcome> {
  const [, namespace = ''] = id.split('/');
  return deliverer.deliver({
    event: forSubscriber(entry.event),
    url: to,
    namespace,
    wantsReply: false,
    format: topology().egresses.get(id)?.format ?? 'binary',
    timeoutMs: ATTEMPT_MS,
    idleMs: ATTEMPT_MS,
    // Nobody reads a reply.
    replies: { tenant: namespace, claims: NO_REPLY },
  });
}

/** `undefined`: any 2xx, since what it answers besides is of no interest. */
function refusalOf(outcome: Outcome): Omit<Refusal, 'position'> | undefined {
  switch (outcome.kind) {
    case 'accepted':
    case 'replied':
    case 'malformed':
      return undefined;
    case 'rejected':
      return { code: 'KNEAR_REJECTED', status: outcome.status };
    case 'unreachable':
    case 'payload':
      return { code: outcome.code, status: 0 };
  }
}

// --- reading ----------------------------------------------------------------------------------------------------------

/** 20 events at their largest are 20 MiB, and a stall of the event loop of some 10 ms: the next ones wait their turn. */
const CHUNK = 20;

/** What was chosen and is parked, in order. Holds no more than CHUNK events, however large the page is. */
async function* entriesOf(
  context: ParkedContext,
  id: string,
  chosen: Chosen,
): AsyncGenerator<ParkedEntry> {
  if (chosen.kind === 'named') {
    for (const position of chosen.positions) {
      const entry = await entryAt(context, id, position);
      if (entry) yield entry;
    }
    return;
  }
  const { log, clock } = context;
  let { after, limit: left } = chosen;
  while (left > 0) {
    const entries = await log.parked(id, { after, limit: Math.min(left, CHUNK) });
    const { untilMs = Infinity } = chosen;
    const old = entries.filter(({ atMs }) => atMs <= untilMs);
    if (old.length === 0) return;
    yield* old;
    left -= entries.length;
    after = entries.at(-1)?.position ?? after;
    await new Promise<void>((resolve) => {
      clock.soon(resolve);
    });
  }
}

async function entryAt(
  { log }: ParkedContext,
  id: string,
  position: Position,
): Promise<ParkedEntry | undefined> {
  const [entry] = await log.parked(id, { after: position - 1, limit: 1 });
  return entry?.position === position ? entry : undefined;
}

/** Of a page that found nothing nothing is left: it looked at all there was. */
async function isMoreAfter(
  { log }: ParkedContext,
  id: string,
  last: Position | null,
  untilMs = Infinity,
): Promise<boolean> {
  if (last === null) return false;
  const [next] = await log.parked(id, { after: last, limit: 1 });
  return next !== undefined && next.atMs <= untilMs;
}

/** A page without a word of it is the first: of what is parked by now. */
function begun(chosen: Chosen, clock: Clock): Chosen {
  return chosen.kind === 'page' ? { untilMs: Math.ceil(clock.nowMs()), ...chosen } : chosen;
}

function untilOf(chosen: Chosen): Pick<ParkedDone, 'untilMs'> {
  const { untilMs } = chosen.kind === 'page' ? chosen : {};
  return untilMs === undefined ? {} : { untilMs };
}

/** The same for what was sent one by one: it may have ended at the first. */
async function isLeft(
  context: ParkedContext,
  id: string,
  { chosen, last }: { chosen: Chosen; last: Position | null },
): Promise<boolean> {
  if (chosen.kind === 'named') return chosen.positions.some((each) => each > (last ?? 0));
  return isMoreAfter(context, id, last ?? chosen.after, chosen.untilMs);
}

function resourceIn(
  { log, topology }: ParkedContext,
  { kind = '', namespace = '', name = '' }: AdminRequest['params'],
): string {
  const id = `${kind}/${namespace}/${name}`;
  if (topology().egresses.has(id) || log.egressIds().includes(id)) return id;
  const detail = `there is no ${id} that has or had events to deliver: see knear parked list`;
  throw new KnearError('KNEAR_RESOURCE_UNKNOWN', detail);
}

function summaryOf({ position, event, atMs, failure }: ParkedEntry): ParkedSummary {
  const text = (name: string) => attributeText(event, name) ?? '';
  const { code, status, dest } = failure;
  return {
    position,
    id: text('id'),
    source: text('source'),
    type: text('type'),
    atMs,
    failure: { code, status, dest },
  };
}

function payloadOf(event: CloudEvent): { payload?: ParkedPayload } {
  const claim = claimOf(event);
  if (!claim) return {};
  const { sizeBytes, sha256 } = claim;
  return { payload: { id: payloadId(claim), sizeBytes, sha256 } };
}

function textOrBase64(bytes: Uint8Array | undefined): Data {
  if (bytes === undefined) return {};
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(data) ? { data: data.toString('utf8') } : { dataBase64: data.toString('base64') };
}
