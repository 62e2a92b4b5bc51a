/** A stream of the log and what is known of it: whose events it has, and who is given them. */
import { KnearError } from '../../../core/errors.ts';
import { FORMAT } from './births.ts';
import type { Durable, Shape } from './durables.ts';
import { HOLD, tokenOf, type Subjects } from './names.ts';

export const INGRESS_KEY = 'knear-ingress-';

/**
 * - alone: no other process uses this log
 * - owner: others do; this one makes and removes what is on the server, and looks after its bounds
 * - guest: the owner does that
 */
export type Sharing = 'alone' | 'owner' | 'guest';

export interface Place {
  /** Of the stream. */
  readonly name: string;
  readonly subjects: Subjects;
  /** By their tokens. */
  readonly ingresses: Map<string, string>;
  /** By the token of their egress. */
  readonly durables: Map<string, Durable[]>;
  /** Of `durables`, by this process. */
  changes: number;
  /** Bytes as of the last look, and what was published since. */
  bytes: number;
  /** Of messages that are known of. */
  lastSequence: number;
  /** What was there when this process came: messages up to here, and how many wait on `t` and `p`, by egress. */
  readonly found: {
    readonly lastSequence: number;
    readonly held: ReadonlyMap<string, { delayed: number; parked: number }>;
  };
}

export function unheld(stream: string): KnearError {
  return new KnearError(
    'KNEAR_LOG_CORRUPT',
    `the stream ${stream} has lost its consumer ${HOLD}, so retries and parked events may be missing: see docs/nats.md`,
  );
}

export function notMadeYet(what: string): KnearError {
  const detail = `there is not ${what} yet: it is made by knear controller, which may not run or may not have got so far`;
  return new KnearError('KNEAR_LOG_FAILED', detail);
}

export function streamName(prefix: string, token: string): string {
  return `${prefix.toUpperCase()}_${token}`;
}

export function emptyPlace(name: string, subjects: Subjects): Place {
  const found = { lastSequence: 0, held: new Map() };
  return {
    name,
    subjects,
    ingresses: new Map(),
    durables: new Map(),
    changes: 0,
    bytes: 0,
    lastSequence: 0,
    found,
  };
}

export function metadataOf(ingressIds: readonly string[]): Record<string, string> {
  return {
    'knear-format': FORMAT,
    ...Object.fromEntries(ingressIds.map((id) => [INGRESS_KEY + tokenOf(id), id])),
  };
}

export function add(place: Place, durable: Durable): void {
  const { durables } = place;
  place.changes += 1;
  durables.set(durable.egress, [...(durables.get(durable.egress) ?? []), durable]);
}

export function drop(place: Place, { egress, name }: Durable): void {
  const { durables } = place;
  place.changes += 1;
  const others = durables.get(egress)?.filter((durable) => durable.name !== name) ?? [];
  durables.set(egress, others);
}

/** @param durables all of it, as the server has them */
export function replace(place: Place, durables: ReadonlyMap<string, Durable[]>): void {
  for (const egress of place.durables.keys()) {
    if (!durables.has(egress)) place.durables.delete(egress);
  }
  for (const [egress, all] of durables) place.durables.set(egress, all);
}

export function isSame(current: readonly Durable[], shapes: readonly Shape[]): boolean {
  return current.length === shapes.length && missingOf(current, shapes)?.length === 0;
}

/** What is not there of them; `undefined` if something is there that is none of them. */
export function missingOf(
  current: readonly Durable[],
  shapes: readonly Shape[],
): readonly Shape[] | undefined {
  const isOf = (durable: Durable, { part, filters }: Shape) =>
    durable.part === part && hasSame(durable.filters, filters);
  if (current.some((durable) => !shapes.some((shape) => isOf(durable, shape)))) return undefined;
  return shapes.filter((shape) => !current.some((durable) => isOf(durable, shape)));
}

function hasSame(some: readonly string[], others: readonly string[]): boolean {
  const set = new Set(some);
  return set.size === others.length && others.every((filter) => set.has(filter));
}
