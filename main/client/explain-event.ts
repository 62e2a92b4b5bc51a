/**
 * `knear explain`: what happened to one event, asked from the admin server and written for a tired person at night. Nothing
 * is worked out here; what there is to know is explain.ts.
 *
 * Lines have at most WIDTH characters, times count from when the event was accepted.
 */
import { sizeText, spanText } from './amounts.ts';
import { askAdmin } from './ask-admin.ts';
import { routeText, wayText } from './route-words.ts';
import type {
  ExplainedAttempt,
  ExplainedEgress,
  ExplainedEvent,
  ExplainedEvents,
  ExplainedPayload,
  ExplainedVisit,
  ExplainedWay,
  ResourceName,
  VisitSource,
} from '../inside/explained.ts';

export interface ExplainEventOptions {
  readonly id: string;
  /** Absent: of whatever source. */
  readonly source?: string;
  readonly output: ExplainFormat;
  /** Of the admin server, e.g. `http://127.0.0.1:9090`. */
  readonly adminUrl: string;
}

export const EXPLAIN_FORMATS = ['text', 'json'] as const;
export type ExplainFormat = (typeof EXPLAIN_FORMATS)[number];

/**
 * The text to print.
 * @throws KNEAR_RESOURCE_UNKNOWN when the event is not remembered, KNEAR_ADMIN_UNREACHABLE when no knear answers.
 */
export async function explainEvent(options: ExplainEventOptions): Promise<string> {
  const { id, source, output, adminUrl } = options;
  const query = new URLSearchParams({ id, ...(source !== undefined && { source }) });
  // What the admin server of this very program sends.
  const answer = (await askAdmin(adminUrl, `/events?${query.toString()}`)) as ExplainedEvents;
  switch (output) {
    case 'text':
      return answer.events.map(eventText).join('\n');
    case 'json':
      return `${JSON.stringify(answer, undefined, 2)}\n`;
  }
}

/** Fits a terminal beside another one, and a mail. */
const WIDTH = 100;
/** Of what did not want the event; -o json has more. */
const UNWANTED_SHOWN_MAX = 20;

function eventText(event: ExplainedEvent): string {
  const { id, source, attributes, at, ageMs, isFromAcceptance, visits, omitted } = event;
  const { subject } = attributes;
  const since = isFromAcceptance ? 'accepted' : 'noticed ';
  const lines = [
    ...wrapped(`event     ${id}`, 10),
    ...wrapped(`source    ${source}`, 10),
    ...wrapped(`type      ${String(attributes['type'])}`, 10),
    ...(subject === undefined ? [] : wrapped(`subject   ${String(subject)}`, 10)),
    ...wrapped(`${since}  ${at}, ${spanText(ageMs)} ago; times below count from then`, 10),
    ...visits.flatMap((visit) => ['', ...visitLines(visit)]),
    ...(omitted > 0 ? ['', `and ${omitted} more things happened, too many to remember`] : []),
  ];
  return `${lines.join('\n')}\n`;
}

function visitLines(visit: ExplainedVisit): string[] {
  const { ingress, egresses, unwantedOmitted, isPartial } = visit;
  const wanted = egresses.filter(({ isWanted }) => isWanted);
  const unwanted = egresses.filter(({ isWanted }) => !isWanted);
  const more = Math.max(0, unwanted.length - UNWANTED_SHOWN_MAX) + unwantedOmitted;
  return [
    ingress ? resourceText(ingress) : 'a Broker or Channel that is not there any more',
    ...arrivalLines(visit),
    ...(wanted.length === 0 ? line(undefined, 'nobody wanted it') : []),
    ...wanted.flatMap((egress) => ['', ...egressLines(egress)]),
    ...unwanted.slice(0, UNWANTED_SHOWN_MAX).flatMap((egress) => ['', ...unwantedLines(egress)]),
    ...(more > 0 ? ['', `  and ${more} more that did not want it`] : []),
    ...(isPartial ? ['', '  who else did not want it is not remembered'] : []),
  ];
}

function arrivalLines(visit: ExplainedVisit): string[] {
  const { afterMs, answeredAfterMs, from, way, ingress, payload } = visit;
  if (afterMs === undefined) return line(undefined, 'came in before what is remembered');
  const answered = (answeredAfterMs ?? 0) - afterMs;
  return [
    ...line(afterMs, arrivalText(from)),
    ...wayLines(way, ingress),
    ...payloadLines(payload),
    ...(answeredAfterMs === undefined
      ? []
      : line(answeredAfterMs, `its producer was answered 202, after ${spanText(answered)}`)),
  ];
}

function wayLines(way: ExplainedWay | undefined, at: ResourceName | undefined): string[] {
  const text = way && wayText(way, at);
  return text === undefined ? [] : line(undefined, text);
}

function payloadLines(payload: ExplainedPayload | undefined): string[] {
  if (!payload) return [];
  const { id, sizeBytes } = payload;
  const size = sizeText(sizeBytes);
  const text = id === undefined ? `payload inline, ${size}` : `payload claimed, ${size}, ${id}`;
  return line(undefined, text);
}

function arrivalText(from: VisitSource): string {
  switch (from.kind) {
    case 'producer':
      return 'came in';
    case 'reply':
      return `came in as the reply of ${resourceText(from.egress)} to event ${from.event.id} from ${from.event.source}`;
    case 'egress':
      return `came in from ${resourceText(from.egress)}`;
    case 'unknown':
      return 'came in; no producer was answered 202 for it: it is being written, was refused, or is a reply';
  }
}

function egressLines(egress: ExplainedEgress): string[] {
  const { attempts, subscriber, end } = egress;
  const isHanded = end?.kind === 'delivered' && attempts.length === 0;
  return [
    `  ${resourceText(egress)}: ${headline(egress)}`,
    ...triesLines(egress),
    ...(isHanded ? line(undefined, `handed to ${subscriber} without a request`) : []),
    ...endLines(egress),
  ];
}

/** Attempts, and the last stall in its place among them. */
function triesLines({ attempts, skipped, stall }: ExplainedEgress): string[] {
  const last = attempts.length - 1;
  const tries = attempts.map((attempt, index) => {
    const isAfterGap = skipped > 0 && index === last;
    const gap = isAfterGap ? line(undefined, `${skipped} more attempts, too many to remember`) : [];
    return [...gap, ...attemptLines(attempt)];
  });
  if (!stall) return tries.flat();
  const isLast = stall.attempts === attempts.length + skipped;
  const place = isLast ? attempts.length : Math.min(stall.attempts, last);
  return tries.toSpliced(place, 0, stallLines(stall)).flat();
}

function stallLines({ code, count, afterMs }: NonNullable<ExplainedEgress['stall']>): string[] {
  const times = count === 1 ? '' : `, ${count} times until now`;
  return line(
    afterMs,
    `the payload could not be read or kept: ${code}, tried again, no attempt${times}`,
  );
}

/** What matters first; attempts are those at the subscriber. */
function headline({ end, state = 'open', attempts, skipped }: ExplainedEgress): string {
  const count = attempts.filter(({ phase }) => phase === 'deliver').length + skipped;
  const tried = count === 1 ? '1 attempt' : `${count} attempts`;
  if (end) {
    const isPlain = count === 0 || (end.kind === 'delivered' && count === 1);
    return `${END_TEXTS[end.kind]}${isPlain ? '' : ` after ${tried}`}`;
  }
  switch (state) {
    case 'waiting':
      return `WAITS for its next attempt, after ${tried}`;
    case 'paused':
      return 'PAUSED by its annotation knear.dev/paused';
    case 'handed-on':
      return `done${count > 1 ? ` after ${tried}` : ''}; ends with what goes on without the log`;
    case 'deleted':
      return 'NOT THERE any more; what waits for it ends as gone (goneAfter)';
    case 'open':
      return count === 0 ? 'WANTS it, and has not ended' : `HAS NOT ENDED after ${tried}`;
  }
}

/** What somebody has to act on stands out. */
const END_TEXTS: Readonly<Record<NonNullable<ExplainedEgress['end']>['kind'], string>> = {
  delivered: 'delivered',
  filtered: 'its filter had changed when the turn came, so it was not sent',
  'dead-lettered': 'DEAD-LETTERED',
  parked: 'PARKED',
  dropped: 'DROPPED',
  gone: 'gone with its Trigger or Subscription',
};

function attemptLines(attempt: ExplainedAttempt): string[] {
  const { afterMs, phase, dest, durationMs, hops, route, reply, wait } = attempt;
  const what = `attempt ${attempt.attempt}${PHASE_TEXTS[phase]}${hopsText(hops)}: ${dest}`;
  const where = route && routeText(route);
  return [
    ...line(afterMs, `${what}: ${outcomeText(attempt)}, took ${spanText(durationMs)}`),
    ...(where === undefined ? [] : line(undefined, where)),
    ...(reply ? line(afterMs + durationMs, replyText(reply)) : []),
    ...wayLines(reply?.way, reply?.ingress),
    ...payloadLines(reply?.payload),
    ...(wait ? line(undefined, waitText(attempt, wait)) : []),
  ];
}

const PHASE_TEXTS: Readonly<Record<ExplainedAttempt['phase'], string>> = {
  deliver: '',
  reply: ' for the reply',
  'dead-letter': ' at the dead letter sink',
};

/** Since the log had it. */
function hopsText(hops: number): string {
  if (hops === 0) return '';
  return hops === 1 ? ', over 1 local hop' : `, over ${hops} local hops`;
}

function outcomeText({ status, code }: ExplainedAttempt): string {
  const answer = status === 0 ? 'no answer' : `answered ${status}`;
  return code === undefined ? answer : `${answer} (${code})`;
}

function replyText({ id, source, type, to }: NonNullable<ExplainedAttempt['reply']>): string {
  const reply = `replied with event ${id} from ${source}, type ${type}`;
  return to === undefined
    ? `${reply}; dropped, as there is no reply address`
    : `${reply}, to ${to}`;
}

function waitText(
  { afterMs, durationMs }: ExplainedAttempt,
  { delayMs, where }: NonNullable<ExplainedAttempt['wait']>,
): string {
  const dueMs = afterMs + durationMs + delayMs;
  return `waits ${spanText(delayMs)} in ${where === 'log' ? 'the log' : 'memory'}, until +${spanText(dueMs)}`;
}

function endLines({ end }: ExplainedEgress): string[] {
  if (!end) return [];
  const { kind, afterMs, failure, sink } = end;
  const why = failure
    ? `, because ${failure.dest} failed: ${failure.code}, status ${failure.status}`
    : '';
  const where = sink === undefined ? '' : ` to ${sink}`;
  return line(afterMs, `${kind}${where}${why}`);
}

function unwantedLines(egress: ExplainedEgress): string[] {
  const why = egress.why ?? 'why is not remembered';
  return [`  ${resourceText(egress)}: did not want it`, ...line(undefined, why)];
}

function resourceText({ kind, namespace, name }: ResourceName): string {
  return `${kind} ${namespace}/${name}`;
}

/** The column of times: `+9999 ms`, `+123.4 s`, with a space around it. */
const TIME_WIDTH = 11;

/** One thing that happened, with its time if it has one. */
function line(afterMs: number | undefined, text: string): string[] {
  const time = afterMs === undefined ? '' : `+${spanText(afterMs)}`;
  return wrapped(`  ${time.padStart(TIME_WIDTH)}  ${text}`, TIME_WIDTH + 6);
}

/**
 * At spaces where there are any; a long URL is cut. What an attribute holds cannot garble the terminal.
 * @param indent of the lines after the first
 */
function wrapped(text: string, indent: number): string[] {
  const lines: string[] = [];
  let rest = text.replace(/\p{Cc}/gu, escaped);
  while (rest.length > WIDTH) {
    const space = rest.lastIndexOf(' ', WIDTH);
    const end = space > indent ? space : WIDTH;
    lines.push(rest.slice(0, end));
    rest = ' '.repeat(indent) + rest.slice(end).trimStart();
  }
  return [...lines, rest];
}

/** A control character as JSON would have it, whether JSON has to or not. */
function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
