/** What names a payload on the command line and in a path, and what requests about payloads may say: checked. */
import { isHour, isId, isTenant } from '../../broker/payload/payload-place.ts';
import { KnearError } from '../../core/errors.ts';
import { payloadId, type PayloadRef } from '../../core/event.ts';
import { membersOf, refuseOthers } from './request-members.ts';

/** As `core/event.ts` names it; no part of it leads out of a store. */
export type PayloadName = Pick<PayloadRef, 'tenant' | 'key'>;

/** 1,000: some 300 KB of answer, and a stall of the event loop of a few ms. */
export const PAYLOAD_PAGE_MAX = 1_000;
const PAGE = 100;

/** Payloads behind this id, so many. */
export interface PayloadPage {
  readonly kind: 'page';
  readonly after: string;
  readonly limit: number;
  /** Of this one only. */
  readonly namespace?: string;
}

export type ToVerify = PayloadPage | { readonly kind: 'named'; readonly name: PayloadName };

export interface SweepRequest {
  readonly isDryRun: boolean;
  readonly isForced: boolean;
}

/** @throws KNEAR_PAYLOAD_UNKNOWN for what can be the name of none, with what one looks like. */
export function payloadNamed(text: string): PayloadName {
  const parts = text.split('/');
  const [tenant = '', hour = '', id = ''] = parts;
  if (parts.length === 3 && isTenant(tenant) && isHour(hour) && isId(id)) {
    return { tenant, key: `${hour}/${id}` };
  }
  const isBare = parts.length === 2 && isHour(tenant) && isId(hour);
  const hint = isBare ? 'the namespace is missing in front of it' : 'one looks like this';
  const detail = `${text} is no id of a payload: ${hint}, as in default/2026050408/Zm9vYmFyYmF6cXV4MTIzNA: see knear payload list`;
  throw new KnearError('KNEAR_PAYLOAD_UNKNOWN', detail);
}

/** The page that a query asks for. @throws KNEAR_USAGE, KNEAR_PAYLOAD_UNKNOWN */
export function payloadPageIn({
  after,
  limit,
  namespace,
  ...rest
}: Readonly<Record<string, unknown>>): PayloadPage {
  refuseOthers(rest, 'after, limit and namespace');
  return pageOf({ after, limit: limit === undefined ? PAGE : Number(limit || 'none'), namespace });
}

/** What a body wants verified. @throws KNEAR_USAGE, KNEAR_PAYLOAD_UNKNOWN */
export function toVerifyIn(body: unknown): ToVerify {
  const { id, after, limit = PAYLOAD_PAGE_MAX, namespace, ...rest } = membersOf(body);
  refuseOthers(rest, 'id, after, limit and namespace');
  if (id === undefined) return pageOf({ after, limit, namespace });
  if (typeof id !== 'string') throw new KnearError('KNEAR_USAGE', 'id must be a text');
  return { kind: 'named', name: payloadNamed(id) };
}

/** @throws KNEAR_USAGE */
export function sweepIn(body: unknown): SweepRequest {
  const { isDryRun = false, isForced = false, ...rest } = membersOf(body);
  refuseOthers(rest, 'isDryRun and isForced');
  if (typeof isDryRun === 'boolean' && typeof isForced === 'boolean') return { isDryRun, isForced };
  throw new KnearError('KNEAR_USAGE', 'isDryRun and isForced must be true or false');
}

/** Nothing can be said to a redaction but by its address. @throws KNEAR_USAGE */
export function refuseMembers(body: unknown): void {
  refuseOthers(membersOf(body), 'no members');
}

function pageOf({
  after,
  limit,
  namespace,
}: {
  readonly after: unknown;
  readonly limit: unknown;
  readonly namespace: unknown;
}): PayloadPage {
  if (!isLimit(limit)) {
    const detail = `limit must be a whole number from 1 to ${PAYLOAD_PAGE_MAX}: go on after the last id of the answer`;
    throw new KnearError('KNEAR_USAGE', detail);
  }
  if (namespace !== undefined && !(typeof namespace === 'string' && isTenant(namespace))) {
    throw new KnearError('KNEAR_USAGE', 'namespace must be the name of a namespace');
  }
  return {
    kind: 'page',
    after: after === undefined ? '' : payloadId(payloadNamed(String(after))),
    limit,
    ...(namespace !== undefined && { namespace }),
  };
}

function isLimit(limit: unknown): limit is number {
  if (typeof limit !== 'number' || !Number.isSafeInteger(limit)) return false;
  return limit >= 1 && limit <= PAYLOAD_PAGE_MAX;
}
