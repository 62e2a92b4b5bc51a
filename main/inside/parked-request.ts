/** What requests about parked events may say, checked. */
import { KnearError } from '../../core/errors.ts';
import type { Position } from '../../core/ports/event-log.ts';
import { membersOf, refuseOthers } from './request-members.ts';

/**
 * 1,000: as many records as one commit of the log takes, and as many as are parked by default, so that a page is usually
 * all there is. It is some 300 KB of answer; what is larger goes page by page.
 */
export const PAGE_MAX = 1_000;
const PAGE = 100;

/** Entries behind this position, so many. */
export interface Page {
  readonly kind: 'page';
  readonly after: Position;
  readonly limit: number;
  /** Parked until then, wall time; absent: whenever. What is parked again meanwhile may come to stand behind the others. */
  readonly untilMs?: number;
}

export type Chosen =
  | Page
  /** In ascending order, each once. */
  | { readonly kind: 'named'; readonly positions: readonly Position[] };

export interface Choice {
  readonly chosen: Chosen;
  readonly to?: string;
}

/** The page that a query asks for. @throws KNEAR_USAGE */
export function pageIn({ after, limit, ...rest }: Readonly<Record<string, string>>): Page {
  refuseOthers(rest, 'after and limit');
  return {
    kind: 'page',
    after: after === undefined ? 0 : wholeNumber('after', Number(after || 'none'), 0),
    limit: limit === undefined ? PAGE : limitOf(Number(limit || 'none')),
  };
}

/** The entries that a body chooses: by their positions, or a page of them. Never all by saying nothing. @throws KNEAR_USAGE */
export function chosenIn(body: unknown): Choice {
  const members = membersOf(body, 'say positions, or limit');
  const { positions, after, limit, untilMs, to, ...rest } = members;
  refuseOthers(rest, 'positions, after, limit, untilMs and to');
  return {
    chosen:
      positions === undefined
        ? pageOf(after, limit, untilMs)
        : namedIn(positions, after ?? limit ?? untilMs),
    ...(to !== undefined && { to: addressOf(to) }),
  };
}

function pageOf(after: unknown, limit: unknown, untilMs: unknown): Page {
  if (limit === undefined) {
    throw new KnearError('KNEAR_USAGE', 'say which: their positions, or limit and after');
  }
  const from = after === undefined ? 0 : wholeNumber('after', after, 0);
  return {
    kind: 'page',
    after: from,
    limit: limitOf(limit),
    ...(untilMs !== undefined && { untilMs: wholeNumber('untilMs', untilMs, 0) }),
  };
}

function namedIn(positions: unknown, other: unknown): Chosen {
  if (other !== undefined) {
    throw new KnearError('KNEAR_USAGE', 'say either positions, or limit and after');
  }
  if (!Array.isArray(positions) || positions.length > PAGE_MAX) {
    const detail = `positions must be a list of at most ${PAGE_MAX} numbers: name the others in another request`;
    throw new KnearError('KNEAR_USAGE', detail);
  }
  const numbers = positions.map((each) => wholeNumber('each of positions', each, 1));
  return { kind: 'named', positions: [...new Set(numbers)].toSorted((one, two) => one - two) };
}

function limitOf(limit: unknown): number {
  const wanted = wholeNumber('limit', limit, 1);
  if (wanted <= PAGE_MAX) return wanted;
  const detail = `limit can be at most ${PAGE_MAX}: go on after the last position of the answer`;
  throw new KnearError('KNEAR_USAGE', detail);
}

function wholeNumber(name: string, value: unknown, min: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min) return value;
  throw new KnearError('KNEAR_USAGE', `${name} must be a whole number from ${min} on`);
}

function addressOf(to: unknown): string {
  const url = typeof to === 'string' ? URL.parse(to) : null;
  if (url && ['http:', 'https:'].includes(url.protocol)) return url.href;
  throw new KnearError('KNEAR_USAGE', 'to must be a URL with http or https');
}
