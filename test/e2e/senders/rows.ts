/** What all rows of requests written by hand have in common. */
import type { Arrival } from './arrivals.ts';
import { eventLines, requestTo, type ReplayOptions, type Written } from './replay.ts';

export interface Row extends ReplayOptions {
  /** Says what is special about it. */
  readonly title: string;
  /** The Broker, the id of the event, and the path at the subscriber. */
  readonly name: string;
  readonly request: Uint8Array;
  readonly statuses: readonly number[];
  readonly arrivals: readonly Arrival[];
}

export interface BinaryRow extends Partial<Written>, ReplayOptions {
  readonly statuses?: readonly number[];
  /** What is there besides id, source, specversion and type; or instead. */
  readonly attributes?: Readonly<Record<string, string>>;
  readonly contentType?: string;
  /** What the subscriber gets, if it is not the body that was sent. */
  readonly data?: string | Uint8Array;
  readonly headers?: Arrival['headers'];
  /** How many events arrive; 1 unless said. */
  readonly events?: 0 | 1;
}

/** A request in binary mode; `lines` come after the four attributes that every event has, `$NAME` in a target is the name. */
export function binaryRow(title: string, row: BinaryRow): Row {
  const name = nameOf(title);
  const { lines = [], body, data = body ?? '', attributes, contentType, headers } = row;
  const { events = 1, statuses = [events === 0 ? 400 : 202], target, version } = row;
  const { answers, isLast, rest } = row;
  const arrival: Arrival = {
    attributes: { ...writtenAttributes(name), ...attributes },
    ...(contentType !== undefined && { contentType }),
    body: data,
    ...(headers && { headers }),
  };
  return {
    title,
    name,
    request: requestTo(name, {
      lines: eventLines(name, lines),
      ...(body !== undefined && { body }),
      ...(target !== undefined && { target: target.replace('$NAME', name) }),
      ...(version !== undefined && { version }),
    }),
    statuses,
    arrivals: events === 0 ? [] : [arrival],
    answers,
    isLast,
    rest,
  };
}

/** A request with a JSON body: an event or a batch; the id of the first event is `$NAME` in it. */
export function jsonRow(
  title: string,
  row: {
    readonly contentType?: string;
    readonly lines?: readonly string[];
    readonly body: string;
    readonly status?: number;
    /** Their attributes without those of every event. */
    readonly arrivals?: readonly Partial<Arrival>[];
  },
): Row {
  const name = nameOf(title);
  const { contentType = 'application/cloudevents+json', lines = [], status = 202 } = row;
  const { arrivals = [] } = row;
  return {
    title,
    name,
    request: requestTo(name, {
      lines: [`Content-Type: ${contentType}`, ...lines],
      body: row.body.replaceAll('$NAME', name),
    }),
    statuses: [status],
    arrivals: arrivals.map(({ attributes, ...rest }) => ({
      attributes: { ...writtenAttributes(name), ...attributes },
      ...rest,
    })),
  };
}

function writtenAttributes(id: string) {
  return { specversion: '1.0', id, source: '/written', type: 'com.example.written' };
}

/** A title as the name of a resource. */
function nameOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 60);
}
