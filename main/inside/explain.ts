/**
 * What happened to one event, for whoever asks: `GET /events/:id` of the admin server, and `knear explain`, which prints it.
 *
 * It listens in two places: at the Observer, and at the Match of the log, which is asked once for everything that enters a
 * Broker or Channel through it, replies included. What enters by a local hop the Observer tells, and what does not hop
 * just before the log is asked, so that both are put together here. What is remembered, and for how long, is stories.ts;
 * how an event came is arrivals.ts. With room for no event, nothing is listened to.
 *
 * Why a filter did not want an event is worked out here and now, with the attributes and the Topology of that moment.
 */
import { KnearError } from '../../core/errors.ts';
import type { Attributes, CloudEvent } from '../../core/event.ts';
import { claimOf, dataSizeBytes, payloadId } from '../../core/event.ts';
import type { Match } from '../../core/ports/event-log.ts';
import type { Happening, Observer } from '../../core/ports/observer.ts';
import type { Clock } from '../../core/ports/time.ts';
import { explainFilter } from '../../core/rules/explain-filter.ts';
import type { HopRefusal } from '../../core/rules/hop.ts';
import type { Egress, Topology } from '../../core/topology.ts';
import type { AdminRequest, AdminRoute } from '../admin.ts';
import { flagOf } from '../settings-table.ts';
import { arrivalOf, isHandedOn, nameOfResource, sourceOf, wayOf } from './arrivals.ts';
import type {
  ExplainedAttempt,
  ExplainedEgress,
  ExplainedEvent,
  ExplainedEvents,
  ExplainedPayload,
  ExplainedVisit,
} from './explained.ts';
import { Stories } from './stories.ts';
import type { Attempt, DataTrace, Ending, Passage, Stall, Story, Visit } from './stories.ts';

export interface ExplainOptions {
  /** How many events, of each kind that stories.ts tells apart; 0: nothing is remembered. */
  readonly eventsMax: number;
  /** The one in force. */
  topology(): Topology;
  readonly clock: Clock;
}

export interface Explain {
  readonly observer: Observer;
  readonly routes: readonly AdminRoute[];
  /** The same Match, listened to. */
  match(match: Match): Match;
}

/** A filter that failed is explained for this many egresses of a visit; more than a person will read. */
const UNWANTED_MAX = 100;
/** A Topology of 10,000 Triggers is some 10 MB, and events of long ago would keep each that there was. */
const TOPOLOGIES_MAX = 4;

export function openExplain(options: ExplainOptions): Explain {
  const { eventsMax, clock } = options;
  const stories = new Stories(eventsMax);
  const topologies = new Topologies(options.topology);
  const routes = routesOf({ stories, topologies, eventsMax, clock });
  if (eventsMax === 0) {
    return {
      observer: { observe: () => undefined },
      routes,
      match: (match) => match,
    };
  }
  const refused = new Refused();
  const visited: Visited = (event, ingressId, { matched, way }) => {
    const { revision, ingresses } = topologies.current();
    stories.visited(event, {
      ingress: ingresses.get(ingressId),
      attributes: event.attributes,
      dataBytes: dataSizeBytes(event),
      claim: claimOf(event),
      atMs: clock.nowMs(),
      matched,
      revision,
      way,
      answeredMs: undefined,
    });
  };
  return {
    observer: observerOf({ stories, visited, refused, clock }),
    routes,
    match: (match) => (ingressId, event) => {
      const result = match(ingressId, event);
      visited(event, ingressId, { matched: result.egressIds, way: refused.take(event) });
      return result;
    },
  };
}

/** The event came to a Broker or Channel, and these egresses wanted it. */
type Visited = (event: CloudEvent, ingressId: string, how: Pick<Visit, 'matched' | 'way'>) => void;

/** Why an event does not hop, until the log is asked who wants it: that is the next thing that happens to it. */
class Refused {
  /** Of the event: all of it would be data that is kept. */
  #attributes: Attributes | undefined;
  #why: HopRefusal | undefined;

  put(event: CloudEvent, why: HopRefusal): void {
    this.#attributes = event.attributes;
    this.#why = why;
  }

  take(event: CloudEvent): HopRefusal | undefined {
    const isIt = this.#attributes === event.attributes;
    this.#attributes = undefined;
    return isIt ? this.#why : undefined;
  }
}

function observerOf({
  stories,
  visited,
  refused,
  clock,
}: {
  readonly stories: Stories;
  readonly visited: Visited;
  readonly refused: Refused;
  readonly clock: Clock;
}): Observer {
  return {
    observe(happening) {
      switch (happening.kind) {
        case 'accepted':
          stories.answered(happening.event, happening.ingress, clock.nowMs());
          return;
        case 'attempted':
          stories.attempted(happening, clock.nowMs());
          return;
        case 'waiting':
          stories.waiting(happening);
          return;
        case 'stalled':
          stories.stalled(happening, clock.nowMs());
          return;
        case 'ended':
          stories.ended(happening, clock.nowMs());
          return;
        case 'hop':
          hopped(happening, { visited, refused });
          return;
        // These name no event.
        case 'refused':
        case 'rerouted':
        case 'discarded':
        case 'lease-lost':
        case 'log-gap':
        case 'committed':
        case 'log-state':
          return;
      }
    },
  };
}

function hopped(
  { event, ingress, result, to }: Extract<Happening, { kind: 'hop' }>,
  { visited, refused }: { readonly visited: Visited; readonly refused: Refused },
): void {
  if (result !== 'taken') refused.put(event, result);
  else if (to !== undefined) visited(event, ingress.id, { matched: [to], way: 'local-hop' });
}

/** The one in force and the last few before it. */
class Topologies {
  readonly #inForce: () => Topology;
  readonly #kept: Topology[] = [];
  #last: Topology | undefined;

  constructor(inForce: () => Topology) {
    this.#inForce = inForce;
  }

  current(): Topology {
    const topology = this.#inForce();
    if (topology !== this.#last) {
      this.#last = topology;
      this.#kept.push(topology);
      if (this.#kept.length > TOPOLOGIES_MAX) this.#kept.shift();
    }
    return topology;
  }

  of(revision: number): Topology | undefined {
    return this.#kept.find((each) => each.revision === revision);
  }
}

interface Memory {
  readonly stories: Stories;
  readonly topologies: Topologies;
  readonly eventsMax: number;
  readonly clock: Clock;
}

/** The second form takes any id: a path cannot end in `..`, and the router takes no part of over 100 characters. */
function routesOf(memory: Memory): AdminRoute[] {
  const answer = (id: string, { query }: AdminRequest) => explained(memory, id, query['source']);
  return [
    {
      method: 'GET',
      path: '/events/:id',
      answer: (request) => answer(request.params['id'] ?? '', request),
    },
    {
      method: 'GET',
      path: '/events',
      answer: (request) => answer(request.query['id'] ?? '', request),
    },
  ];
}

/** @throws KNEAR_RESOURCE_UNKNOWN, with how much is remembered */
function explained(memory: Memory, id: string, source: string | undefined): ExplainedEvents {
  const found = memory.stories
    .withId(id)
    .filter((story) => source === undefined || story.source === source);
  if (found.length === 0) throw unknownEvent(memory, { id, source });
  return { events: found.map((story) => explainedEvent(memory, story)) };
}

function unknownEvent(
  { stories, eventsMax }: Memory,
  { id, source }: { id: string; source: string | undefined },
): KnearError {
  const event = `event ${id}${source === undefined ? '' : ` from ${source}`}`;
  const detail =
    eventsMax === 0
      ? `events are not remembered, so nothing is known of ${event}: give explainEvents (${flagOf('explainEvents')}) a number above 0`
      : `there is no ${event} among the ${stories.size} that are remembered: the last ${eventsMax} that went well, with failed attempts, and parked, dead-lettered or dropped each, since the start; explainEvents (${flagOf('explainEvents')}) raises that`;
  return new KnearError('KNEAR_RESOURCE_UNKNOWN', detail);
}

function explainedEvent(memory: Memory, story: Story): ExplainedEvent {
  const [first] = story.visits;
  const isFromAcceptance = first !== undefined;
  const startMs = first?.atMs ?? arrivalMs(story.attributes) ?? story.sinceMs;
  return {
    id: story.id,
    source: story.source,
    attributes: Object.fromEntries(story.attributes),
    at: new Date(startMs).toISOString(),
    ageMs: memory.clock.nowMs() - startMs,
    isFromAcceptance: isFromAcceptance || arrivalMs(story.attributes) !== undefined,
    visits: [
      ...story.visits.map((visit) => explainedVisit({ memory, story, startMs }, visit)),
      ...strayVisits({ memory, story, startMs }),
    ],
    omitted: story.omitted,
  };
}

/** A Broker's stamp. */
function arrivalMs(attributes: Attributes): number | undefined {
  const atMs = Date.parse(String(attributes.get('knativearrivaltime')));
  return Number.isNaN(atMs) ? undefined : atMs;
}

interface Scope {
  readonly memory: Memory;
  readonly story: Story;
  readonly startMs: number;
}

function explainedVisit(scope: Scope, visit: Visit): ExplainedVisit {
  const { memory, story, startMs } = scope;
  const passages = story.passages.filter((each) => each.visit === visit);
  const topology = memory.topologies.of(visit.revision);
  const egresses = [...(topology?.egresses.values() ?? [])].filter(
    ({ ingressId }) => ingressId === visit.ingress?.id,
  );
  const wanted = egresses.filter(
    ({ id }) => visit.matched.includes(id) && !passages.some(({ egress }) => egress.id === id),
  );
  const unwanted = egresses.filter(({ id }) => !visit.matched.includes(id));
  const way = wayOf(visit, story, topology);
  return {
    ingress: visit.ingress && nameOfResource(visit.ingress),
    afterMs: visit.atMs - startMs,
    ...(visit.answeredMs !== undefined && { answeredAfterMs: visit.answeredMs - startMs }),
    from: sourceOf(memory.stories, story, visit),
    ...(way && { way }),
    ...payloadOf(visit),
    egresses: [
      ...passages.map((passage) => explainedPassage(scope, passage)),
      ...wanted.map((egress) => explainedPassage(scope, untouched(egress, visit))),
      ...unwanted.slice(0, UNWANTED_MAX).map((egress) => unwantedEgress(egress, visit, topology)),
    ],
    unwantedOmitted: Math.max(0, unwanted.length - UNWANTED_MAX),
    isPartial: topology === undefined,
  };
}

/** Passages of an event that came in before what is remembered. */
function strayVisits(scope: Scope): ExplainedVisit[] {
  const { memory, story } = scope;
  const stray = story.passages.filter(({ visit }) => visit === undefined);
  const { ingresses } = memory.topologies.current();
  return [...new Set(stray.map(({ egress }) => egress.ingressId))].map((ingressId) => {
    const ingress = ingresses.get(ingressId);
    return {
      ingress: ingress && nameOfResource(ingress),
      from: { kind: 'unknown' },
      egresses: stray
        .filter(({ egress }) => egress.ingressId === ingressId)
        .map((passage) => explainedPassage(scope, passage)),
      unwantedOmitted: 0,
      isPartial: true,
    };
  });
}

function payloadOf({ dataBytes: sizeBytes, claim }: DataTrace): { payload?: ExplainedPayload } {
  if (sizeBytes === 0) return {};
  return { payload: { sizeBytes, ...(claim && { id: payloadId(claim) }) } };
}

function untouched(egress: Egress, visit: Visit): Passage {
  return { egress, visit, attempts: [], skipped: 0, stall: undefined, end: undefined };
}

function unwantedEgress(
  egress: Egress,
  visit: Visit,
  topology: Topology | undefined,
): ExplainedEgress {
  const event = { attributes: visit.attributes, headers: new Map(), data: undefined };
  const why = topology && explainFilter(egress.filter, event, topology);
  return {
    ...nameOfResource(egress),
    isWanted: false,
    ...(why !== undefined && { why }),
    subscriber: egress.subscriber.url,
    attempts: [],
    skipped: 0,
  };
}

function explainedPassage(scope: Scope, passage: Passage): ExplainedEgress {
  const { startMs } = scope;
  const { egress, attempts, skipped, stall, end } = passage;
  return {
    ...nameOfResource(egress),
    isWanted: true,
    subscriber: egress.subscriber.url,
    attempts: attempts.map((attempt) => explainedAttempt(attempt, { ...scope, egress })),
    skipped,
    ...(stall && { stall: explainedStall(stall, startMs) }),
    ...(end ? { end: explainedEnd(end, { egress, startMs }) } : { state: stateOf(scope, passage) }),
  };
}

interface PassageScope extends Scope {
  readonly egress: Egress;
}

function explainedAttempt(
  { atMs, code, route, reply, wait, ...attempt }: Attempt,
  scope: PassageScope,
): ExplainedAttempt {
  return {
    ...attempt,
    afterMs: atMs - scope.startMs,
    ...(code && { code }),
    ...(route && { route }),
    ...(reply && { reply: explainedReply(reply, atMs, scope) }),
    ...(wait && { wait }),
  };
}

function explainedReply(
  { id, source, type, ...data }: NonNullable<Attempt['reply']>,
  sinceMs: number,
  { memory, egress: { reply: target } }: PassageScope,
): NonNullable<ExplainedAttempt['reply']> {
  const arrival = arrivalOf(memory.stories, { id, source }, { target, sinceMs });
  const ingress = arrival?.visit.ingress;
  const topology = arrival && memory.topologies.of(arrival.visit.revision);
  const way = arrival && wayOf(arrival.visit, arrival.story, topology);
  return {
    ...{ id, source, type },
    ...(target && { to: target.url }),
    ...(ingress && { ingress: nameOfResource(ingress) }),
    ...(way && { way }),
    ...payloadOf(data),
  };
}

function explainedStall(
  { atMs, ...stall }: Stall,
  startMs: number,
): NonNullable<ExplainedEgress['stall']> {
  return { ...stall, afterMs: atMs - startMs };
}

function explainedEnd(
  { kind, atMs, failure }: Ending,
  { egress, startMs }: Pick<PassageScope, 'egress' | 'startMs'>,
): NonNullable<ExplainedEgress['end']> {
  const sink = kind === 'dead-lettered' ? egress.deadLetter?.url : undefined;
  return {
    kind,
    afterMs: atMs - startMs,
    ...(failure && { failure }),
    ...(sink !== undefined && { sink }),
  };
}

type State = NonNullable<ExplainedEgress['state']>;

function stateOf({ memory, story }: Scope, passage: Passage): State {
  const { egress, attempts } = passage;
  if (isHandedOn(memory.stories, story, passage)) return 'handed-on';
  const current = memory.topologies.current().egresses.get(egress.id);
  if (!current) return 'deleted';
  if (current.isPaused) return 'paused';
  return attempts.at(-1)?.wait ? 'waiting' : 'open';
}
