/**
 * What is remembered of recent events, for `knear explain`: where each came in, who wanted it, every attempt, every end.
 * Never data: of an event its attributes are kept, the very Map that the event has, how much data it had, and the name of
 * that where it is claimed.
 *
 * It owns the bounds. What is told is explain.ts, which also says why a filter did not want an event: nothing of that is
 * worked out before somebody asks.
 *
 * - U1 Three shelves, each of as many events: those that go well, those with a failed attempt or a stall, and those that
 *   were parked, dead-lettered or dropped. So a busy hour pushes out what went well, never what was lost; that is pushed
 *   out only by what was lost later.
 * - U2 A story takes nothing new past LINES_MAX lines, or past LOST_LINES_MAX what tells that the event was lost. From then
 *   on the last attempt takes the place of the one before, and what has no place is counted.
 * - U3 Remembering is a lookup and a few fields, and nothing is worked out: some 0.3 microseconds a happening, garbage
 *   included, and 1.2 KB an event. An event happens about four times and costs some 20 microseconds in all.
 */
import type { ErrorCode } from '../../core/errors.ts';
import type { Attributes, CloudEvent, PayloadRef } from '../../core/event.ts';
import { attributeText, claimOf, dataSizeBytes } from '../../core/event.ts';
import type { Failure, Phase } from '../../core/ports/event-log.ts';
import type { End, Happening, RouteTaken } from '../../core/ports/observer.ts';
import type { HopRefusal } from '../../core/rules/hop.ts';
import type { Egress, Ingress } from '../../core/topology.ts';

/** Everything about one event, by id and source. An event keeps both on its way through several Channels. */
export interface Story {
  readonly id: string;
  readonly source: string;
  readonly attributes: Attributes;
  /** Wall time of the first thing that is known. */
  readonly sinceMs: number;
  visits: readonly Visit[];
  passages: readonly Passage[];
  /** What found no place (U2). */
  omitted: number;
  lines: number;
  shelf: ShelfName;
  slot: number;
  /** Another one with this id and another source. */
  next: Story | undefined;
}

/** What is kept of an event's data. */
export interface DataTrace {
  readonly dataBytes: number;
  /** Absent: the data was in the log, or there was none. */
  readonly claim: PayloadRef | undefined;
}

/** The event came to a Broker or Channel. */
export interface Visit extends DataTrace {
  /** `undefined`: it was deleted in that moment. */
  readonly ingress: Ingress | undefined;
  /** As it was there: a reply may bear the id and source of what it answers. */
  readonly attributes: Attributes;
  readonly atMs: number;
  /** Ids of the egresses that wanted it. */
  readonly matched: readonly string[];
  /** Of the Topology that decided. */
  readonly revision: number;
  /** From inside: without the log, or why through it. Absent: by the door. */
  readonly way: 'local-hop' | HopRefusal | undefined;
  /** When the producer got its 202; never for what comes from inside. */
  answeredMs: number | undefined;
}

/** The event on its way to one egress, to an end. */
export interface Passage {
  readonly egress: Egress;
  /** Absent: it came in before what is remembered. */
  readonly visit: Visit | undefined;
  attempts: readonly Attempt[];
  /** Attempts whose place the last one took (U2). */
  skipped: number;
  /** The last one. */
  stall: Stall | undefined;
  end: Ending | undefined;
}

/** A payload could not be read, or that of a reply not be kept: no attempt. */
export interface Stall {
  readonly code: ErrorCode;
  readonly atMs: number;
  /** How many there were until now. */
  readonly count: number;
  /** Attempts that were over by then. */
  readonly attempts: number;
}

export interface Ending {
  readonly kind: End;
  readonly atMs: number;
  /** Without the subscriber's answer: that is data, too. */
  readonly failure: Pick<Failure, 'code' | 'status' | 'dest'> | undefined;
}

export interface Attempt {
  readonly phase: Phase;
  readonly attempt: number;
  /** Wall time at which it began. */
  readonly atMs: number;
  readonly durationMs: number;
  readonly dest: string;
  readonly status: number;
  readonly code: ErrorCode | undefined;
  /** Local hops that have led here. */
  readonly hops: number;
  /** Absent: to a Broker or Channel of ours. */
  readonly route: RouteTaken | undefined;
  readonly reply: (EventName & DataTrace) | undefined;
  /** Before the next one. */
  wait: { readonly delayMs: number; readonly where: 'memory' | 'log' } | undefined;
}

export interface EventName {
  readonly id: string;
  readonly source: string;
  readonly type: string;
}

type Attempted = Extract<Happening, { kind: 'attempted' }>;

const SHELF_NAMES = ['smooth', 'troubled', 'lost'] as const;
type ShelfName = (typeof SHELF_NAMES)[number];

/** 30 retries to three Triggers, or one attempt for 50: longer stories are read by nobody, and 100 lines are 10 KB. */
const LINES_MAX = 100;
/** So that a hundred Triggers can lose an event and each loss is told. */
const LOST_LINES_MAX = 200;
/** Some producers number their events from 1; more than a few of one id at a time would have to be searched. */
const SAME_ID_MAX = 16;

export class Stories {
  readonly #byId = new Map<string, Story>();
  readonly #shelves: Readonly<Record<ShelfName, Shelf>>;

  /** @param eventsMax on each shelf (U1) */
  constructor(eventsMax: number) {
    this.#shelves = {
      smooth: new Shelf(eventsMax),
      troubled: new Shelf(eventsMax),
      lost: new Shelf(eventsMax),
    };
  }

  /** How many events are remembered. */
  get size(): number {
    return SHELF_NAMES.reduce((sum, name) => sum + this.#shelves[name].size, 0);
  }

  /** All of this id, the newest first. */
  withId(id: string): Story[] {
    const found: Story[] = [];
    for (let story = this.#byId.get(id); story; story = story.next) found.push(story);
    return found;
  }

  *all(): Generator<Story> {
    for (const id of this.#byId.keys()) yield* this.withId(id);
  }

  visited(event: CloudEvent, visit: Visit): void {
    let story = this.#find(event);
    // The same id again and again: what is asked about is the last time.
    if (story && story.lines >= LINES_MAX) {
      this.#forget(story);
      story = undefined;
    }
    story ??= this.#add(event, visit.atMs);
    story.lines += 1;
    story.visits = withOneMore(story.visits, visit);
  }

  /** The producer got its 202. */
  answered(event: CloudEvent, ingress: Ingress, atMs: number): void {
    for (const visit of this.#find(event)?.visits ?? []) {
      if (visit.answeredMs !== undefined || visit.ingress?.id !== ingress.id) continue;
      visit.answeredMs = atMs;
      return;
    }
  }

  attempted(happening: Attempted, nowMs: number): void {
    const { event, egress, code, durationMs } = happening;
    const story = this.#find(event) ?? (code && this.#add(event, nowMs - durationMs));
    if (!story) return;
    if (code) this.#move(story, 'troubled');
    const passage = passageOf(story, egress, LINES_MAX);
    if (passage) note(story, passage, attemptOf(happening, nowMs));
  }

  waiting(happening: Extract<Happening, { kind: 'waiting' }>): void {
    const { event, egress, delayMs, where } = happening;
    const story = this.#find(event);
    const passage = story && openPassage(story, egress);
    // A stall waits by itself: the attempt before it had its own wait.
    if (!passage || passage.stall?.attempts === attemptsOf(passage)) return;
    const attempt = passage.attempts.at(-1);
    if (attempt) attempt.wait = { delayMs, where };
  }

  stalled(happening: Extract<Happening, { kind: 'stalled' }>, nowMs: number): void {
    const { event, egress, code } = happening;
    const story = this.#find(event) ?? this.#add(event, nowMs);
    this.#move(story, 'troubled');
    const passage = passageOf(story, egress, LINES_MAX);
    if (!passage) return;
    // U2: a store that is away for hours is one line.
    if (!passage.stall && story.lines >= LINES_MAX) {
      story.omitted += 1;
      return;
    }
    if (!passage.stall) story.lines += 1;
    const count = (passage.stall?.count ?? 0) + 1;
    passage.stall = { code, atMs: nowMs, count, attempts: attemptsOf(passage) };
  }

  ended(happening: Extract<Happening, { kind: 'ended' }>, nowMs: number): void {
    const { event, egress, end, ageMs } = happening;
    const isLost = end === 'parked' || end === 'dead-lettered' || end === 'dropped';
    const story = this.#find(event) ?? (isLost ? this.#add(event, nowMs - ageMs) : undefined);
    if (!story) return;
    if (isLost) this.#move(story, 'lost');
    const passage = passageOf(story, egress, isLost ? LOST_LINES_MAX : LINES_MAX);
    if (passage) passage.end = { kind: end, atMs: nowMs, failure: failureOf(happening) };
  }

  #find(event: CloudEvent): Story | undefined {
    const source = attributeText(event, 'source');
    let story = this.#byId.get(attributeText(event, 'id') ?? '');
    while (story && story.source !== source) story = story.next;
    return story;
  }

  #add(event: CloudEvent, sinceMs: number): Story {
    const id = attributeText(event, 'id') ?? '';
    const next = this.#byId.get(id);
    if (next) this.#keepFew(id);
    const story: Story = {
      id,
      source: attributeText(event, 'source') ?? '',
      attributes: event.attributes,
      sinceMs,
      visits: NONE,
      passages: NONE,
      omitted: 0,
      lines: 0,
      shelf: 'smooth',
      slot: 0,
      next: this.#byId.get(id),
    };
    this.#byId.set(id, story);
    this.#put(story);
    return story;
  }

  #keepFew(id: string): void {
    const others = this.withId(id);
    const oldest = others.at(-1);
    if (others.length >= SAME_ID_MAX && oldest) this.#forget(oldest);
  }

  /** U1: never back. */
  #move(story: Story, name: ShelfName): void {
    if (story.shelf === name || story.shelf === 'lost') return;
    this.#shelves[story.shelf].take(story);
    story.shelf = name;
    this.#put(story);
  }

  #put(story: Story): void {
    const pushedOut = this.#shelves[story.shelf].put(story);
    if (pushedOut) this.#unlink(pushedOut);
  }

  #forget(story: Story): void {
    this.#shelves[story.shelf].take(story);
    this.#unlink(story);
  }

  #unlink(story: Story): void {
    const first = this.#byId.get(story.id);
    if (first === story) {
      if (story.next) this.#byId.set(story.id, story.next);
      else this.#byId.delete(story.id);
      return;
    }
    let before = first;
    while (before && before.next !== story) before = before.next;
    if (before) before.next = story.next;
  }
}

/** The newest stories, in a ring. A place that is left early stays empty until its turn comes. */
class Shelf {
  readonly #ring: (Story | undefined)[];
  #turn = 0;
  size = 0;

  constructor(storiesMax: number) {
    this.#ring = Array.from({ length: storiesMax }, () => undefined);
  }

  /** Returns what has to go for it. */
  put(story: Story): Story | undefined {
    const pushedOut = this.#ring[this.#turn];
    this.#ring[this.#turn] = story;
    story.slot = this.#turn;
    this.#turn += 1;
    if (this.#turn === this.#ring.length) this.#turn = 0;
    if (!pushedOut) this.size += 1;
    return pushedOut;
  }

  take(story: Story): void {
    this.#ring[story.slot] = undefined;
    this.size -= 1;
  }
}

function replyOf(event: CloudEvent): EventName & DataTrace {
  return {
    id: attributeText(event, 'id') ?? '',
    source: attributeText(event, 'source') ?? '',
    type: attributeText(event, 'type') ?? '',
    dataBytes: dataSizeBytes(event),
    claim: claimOf(event),
  };
}

/** The one that has not ended, or a new one if there is room: the event came again, or was taken out of parking. */
function passageOf(story: Story, egress: Egress, linesMax: number): Passage | undefined {
  const open = openPassage(story, egress);
  if (open) return open;
  if (story.lines >= linesMax) {
    story.omitted += 1;
    return undefined;
  }
  story.lines += 1;
  const passage: Passage = {
    egress,
    visit: visitOf(story, egress),
    attempts: NONE,
    skipped: 0,
    stall: undefined,
    end: undefined,
  };
  story.passages = withOneMore(story.passages, passage);
  return passage;
}

function attemptsOf({ attempts, skipped }: Passage): number {
  return attempts.length + skipped;
}

function openPassage({ passages }: Story, { id }: Egress): Passage | undefined {
  for (let index = passages.length - 1; index >= 0; index -= 1) {
    const passage = passages[index];
    if (passage?.egress.id === id && passage.end === undefined) return passage;
  }
  return undefined;
}

/** The first one in which this egress wanted the event and has not had it, else the last. */
function visitOf({ visits, passages }: Story, { id }: Egress): Visit | undefined {
  const [only] = visits;
  // Nearly always (U3).
  if (visits.length === 1) return only?.matched.includes(id) ? only : undefined;
  const wanted = visits.filter(({ matched }) => matched.includes(id));
  const isNew = (visit: Visit) =>
    !passages.some((each) => each.visit === visit && each.egress.id === id);
  return wanted.find(isNew) ?? wanted.at(-1);
}

/** U2 */
function note(story: Story, passage: Passage, attempt: Attempt): void {
  if (story.lines >= LINES_MAX && passage.attempts.length > 0) {
    passage.attempts = passage.attempts.with(-1, attempt);
    passage.skipped += 1;
  } else {
    passage.attempts = withOneMore(passage.attempts, attempt);
    story.lines += 1;
  }
}

/** Nearly every list has one element: a list that grows would take room for 17, a quarter of what a story takes. */
function withOneMore<Value>(list: readonly Value[], value: Value): readonly Value[] {
  return list.length === 0 ? [value] : [...list, value];
}

const NONE: readonly never[] = [];

/** Every field, spread by nobody: that alone would be half of the time (U3). */
function attemptOf(happening: Attempted, nowMs: number): Attempt {
  const { phase, attempt, dest, status, code, hops, route, reply, durationMs } = happening;
  return {
    phase,
    attempt,
    atMs: nowMs - durationMs,
    durationMs,
    dest,
    status,
    code,
    hops,
    route,
    reply: reply && replyOf(reply),
    wait: undefined,
  };
}

function failureOf({ failure }: Extract<Happening, { kind: 'ended' }>): Ending['failure'] {
  if (!failure) return undefined;
  const { code, status, dest } = failure;
  return { code, status, dest };
}
