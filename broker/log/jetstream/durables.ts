/** What streams and durables of ours are made of, and what is read off them. */
import type { ConsumerConfig, ConsumerInfo, StreamConfig } from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';

import type { Interest } from '../../../core/ports/event-log.ts';
import { PARTS, tokenOf, type Subjects } from './names.ts';
import { GROUP } from './puller.ts';

/** Without a number, servers from 2.15 on stop at 1,000. */
const CONSUMERS_MAX = 100_000;
const DUPLICATE_WINDOW_MS = 120_000;
/** More than a dispatcher ever has open, so that no egress stops because of events that wait in its memory. */
const ACK_PENDING_MAX = 5_000;
const WAITING_MAX = 1_024;
/** Of an ordered egress: Work is in no line. */
const WORK_PART = 'w';

export function streamConfig(subject: string): Omit<Partial<StreamConfig>, 'name'> {
  return {
    subjects: [subject],
    // Acknowledged by all who have an interest: gone.
    retention: 'interest',
    storage: 'file',
    num_replicas: 1,
    // A stream with schedules cannot refuse what is new when it is full, and must never drop what is old: it has no limit of
    // its own, and the door keeps the quota.
    discard: 'old',
    max_bytes: -1,
    max_msgs: -1,
    max_age: 0,
    max_consumers: CONSUMERS_MAX,
    duplicate_window: nanos(DUPLICATE_WINDOW_MS),
    allow_msg_schedules: true,
    allow_rollup_hdrs: true,
    allow_atomic: true,
    allow_direct: true,
  };
}

/** One durable of a generation. */
export interface Shape {
  /** Number of its line, or `w` for Work; absent: all of it. */
  readonly part: string | undefined;
  readonly filters: readonly string[];
  readonly ackPendingMax: number;
}

/** @returns one durable, or one for each line of an ordered egress and one for its Work. */
export function shapeOf(subjects: Subjects, { egressId, isOrdered, sources }: Interest): Shape[] {
  // Once each: the server refuses filters that overlap.
  const eventFilters = (part?: number) => {
    const filters = sources.flatMap(({ ingressId, types }) => {
      const line = part === undefined ? {} : { part };
      if (types === undefined) return [subjects.events(ingressId, line)];
      return types.map((type) => subjects.events(ingressId, { ...line, type }));
    });
    return [...new Set(filters)];
  };
  const works = subjects.works(tokenOf(egressId));
  if (!isOrdered) {
    const filters = [...eventFilters(), works];
    return [{ part: undefined, filters, ackPendingMax: ACK_PENDING_MAX }];
  }
  const lines = Array.from({ length: PARTS }, (_, part) => ({
    part: String(part),
    filters: eventFilters(part),
    // What comes next in a line waits for what is under way.
    ackPendingMax: 1,
  }));
  return [...lines, { part: WORK_PART, filters: [works], ackPendingMax: ACK_PENDING_MAX }];
}

export function durableConfig({
  filters,
  ackPendingMax,
  leaseMs,
}: Omit<Shape, 'part'> & { readonly leaseMs: number }): Partial<ConsumerConfig> {
  return {
    ack_policy: 'explicit',
    deliver_policy: 'new',
    filter_subjects: [...filters],
    ack_wait: nanos(leaseMs),
    // A limit would leave events behind that nobody sees.
    max_deliver: -1,
    max_ack_pending: ackPendingMax,
    max_waiting: WAITING_MAX,
    // Cannot be changed later. Whoever is near asks with a better priority.
    priority_policy: 'prioritized',
    priority_groups: [GROUP],
  };
}

/** A durable that exists. */
export interface Durable {
  readonly name: string;
  /** Token. */
  readonly egress: string;
  readonly egressId: string;
  readonly part: string | undefined;
  readonly generation: number;
  /** Tells it from another of the same name. */
  readonly birth: string;
  readonly filters: readonly string[];
  readonly ackPendingMax: number;
  /** Sequence of the first message that it may be given; absent: the first after it was made. */
  readonly from: number | undefined;
  /** Messages that waited for it when this process came. */
  readonly found: number;
}

/** `<egress>_<generation>`, and `-<part>` for one of several. */
export function nameOf(egress: string, generation: number, part: string | undefined): string {
  return `${egress}_${generation}${part === undefined ? '' : `-${part}`}`;
}

export function durableOf({ name, config, ...info }: ConsumerInfo): Durable {
  const egressId = config.metadata?.['knear-egress'] ?? '';
  const egress = tokenOf(egressId);
  const [, generation, part] = /^_(\d+)(?:-(\w+))?$/.exec(name.slice(egress.length)) ?? [];
  return {
    name,
    egress,
    egressId,
    part,
    generation: Number(generation),
    birth: config.metadata?.['knear-birth'] ?? '',
    filters: config.filter_subjects ?? [config.filter_subject ?? ''],
    ackPendingMax: config.max_ack_pending ?? ACK_PENDING_MAX,
    from: config.opt_start_seq,
    found: info.num_pending + info.num_ack_pending,
  };
}

/** Where the generation of a durable ends: the sequence at which the next one begins. */
export function untilOf({ generation }: Durable, all: readonly Durable[]): number | undefined {
  let next: Durable | undefined;
  for (const other of all) {
    if (other.generation > generation && !(next && next.generation <= other.generation))
      next = other;
  }
  return next?.from;
}

/** Whether no generation before it is left. */
export function isOldest({ generation }: Durable, all: readonly Durable[]): boolean {
  return all.every((other) => other.generation >= generation);
}

/** N9: what comes next in a line waits for what the generation before has yet to give. */
export function isHeldBack(durable: Durable, all: readonly Durable[]): boolean {
  return isLine(durable) && !isOldest(durable, all);
}

/** Whether it has events whose order counts. */
function isLine({ part }: Durable): boolean {
  return part !== undefined && part !== WORK_PART;
}
