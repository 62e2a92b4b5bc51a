/**
 * What the admin server tells of claimed payloads, and what it does with them (docs/admin-api.md).
 *
 *   GET  /payloads                                which are named by events in the log, page by page
 *   GET  /payloads/:namespace/:hour/:id           one of them
 *   GET  /payloads/:namespace/:hour/:id/data      its bytes
 *   POST /payloads/:namespace/:hour/:id/redact    its bytes are gone for good
 *   POST /payloads/verify                         reads one, or a page of them, and says which are not what they were
 *   POST /payloads/sweep                          removes what no event needs
 *
 * The log is asked which payloads there are, so what is there is what the disk says; what is in the store beside that, only
 * a sweep looks for. Bytes leave as they do to a subscriber: the last ones when all are right (K30), and a connection that
 * cannot have them is reset (K31).
 */
import { Readable } from 'node:stream';

import type { Logger } from 'pino';

import type { PayloadKeeper } from '../../broker/payload/payloads.ts';
import { codeOf, KnearError, messageOf, type ErrorCode } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { Claim, ClaimLedger } from '../../core/ports/claims.ts';
import type { Clock } from '../../core/ports/time.ts';
import type { AdminRequest, AdminRoute } from '../admin.ts';
import {
  payloadNamed,
  payloadPageIn,
  refuseMembers,
  sweepIn,
  toVerifyIn,
  type PayloadPage,
  type SweepRequest,
} from './payload-request.ts';

export interface PayloadRoutesOptions {
  /** Of the log. */
  readonly claims: ClaimLedger;
  readonly payloads: Pick<PayloadKeeper, 'open' | 'verify' | 'sweep' | 'redact'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ShownPayload {
  /** `<namespace>/<hour>/<random>`: names it in commands and paths. */
  readonly id: string;
  readonly namespace: string;
  readonly store: string;
  readonly sizeBytes: number;
  /** base64url */
  readonly sha256: string;
  /** Whether it is one JSON value; absent: nobody has looked. */
  readonly isJson?: boolean;
  /** Wall time. */
  readonly createdMs: number;
  readonly ageMs: number;
  /** Records of the log that name it. */
  readonly records: number;
  /** Wall time; absent: it was not. */
  readonly redactedAtMs?: number;
}

export interface ShownPayloads {
  readonly payloads: readonly ShownPayload[];
  /** The page after this one begins `after` it. */
  readonly last: string | null;
  readonly isMore: boolean;
}

/** What came of a page. */
export interface VerifiedPage {
  readonly good: number;
  /** Of the good ones. */
  readonly goodBytes: number;
  /** Not looked for. */
  readonly redacted: number;
  readonly broken: readonly BrokenPayload[];
  readonly last: string | null;
  readonly isMore: boolean;
}

export interface BrokenPayload {
  readonly id: string;
  readonly sizeBytes: number;
  /** `unreadable`: nobody can say what became of it. */
  readonly state: 'missing' | 'altered' | 'unreadable';
  readonly code: ErrorCode;
  readonly detail: string;
}

export interface SweptPayloads extends SweepRequest {
  /** In the store. */
  readonly seen: number;
  /** Of them, those that no event needs. */
  readonly orphans: number;
  readonly orphanBytes: number;
  readonly removed: number;
}

/**
 * A page of a verification: whichever comes first. A gibibyte takes 5 s on a disk of today, and each page is at least one
 * payload, which can have a gibibyte by itself.
 */
const VERIFY_BYTES_MAX = 1024 ** 3;
const VERIFY_MS_MAX = 20_000;

export function payloadRoutes(options: PayloadRoutesOptions): readonly AdminRoute[] {
  const one = '/payloads/:namespace/:hour/:id';
  return [
    { method: 'GET', path: '/payloads', answer: (request) => list(options, request) },
    { method: 'GET', path: one, answer: (request) => shownOf(claimIn(options, request), options) },
    {
      method: 'GET',
      path: `${one}/data`,
      answer: (request, reply) => data(options, request, reply),
    },
    { method: 'POST', path: `${one}/redact`, answer: (request) => redact(options, request) },
    {
      method: 'POST',
      path: '/payloads/verify',
      answer: (request, { raw }) => verify(options, request, () => raw.destroyed),
    },
    { method: 'POST', path: '/payloads/sweep', answer: (request) => sweep(options, request) },
  ];
}

function list(options: PayloadRoutesOptions, { query }: AdminRequest): ShownPayloads {
  const { claims, last, isMore } = claimsOf(options, payloadPageIn(query));
  return { payloads: claims.map((claim) => shownOf(claim, options)), last, isMore };
}

function shownOf(
  { ref, records, redactedAtMs }: Claim,
  { clock }: PayloadRoutesOptions,
): ShownPayload {
  const { tenant: namespace, store, sizeBytes, sha256, isJson, createdMs } = ref;
  return {
    id: payloadId(ref),
    namespace,
    store,
    sizeBytes,
    sha256,
    ...(isJson !== undefined && { isJson }),
    createdMs,
    ageMs: clock.nowMs() - createdMs,
    records,
    ...(redactedAtMs !== undefined && { redactedAtMs }),
  };
}

async function redact(
  options: PayloadRoutesOptions,
  request: AdminRequest,
): Promise<Pick<ShownPayload, 'id' | 'sizeBytes' | 'records'>> {
  const { ref, records } = claimIn(options, request);
  refuseMembers(request.body);
  const id = payloadId(ref);
  // Whoever waited for it last may have got it meanwhile.
  if (!(await options.payloads.redact(ref))) throw unknown(id);
  const { sizeBytes } = ref;
  options.logger.info({ payload: id, sizeBytes, records }, 'a payload was redacted');
  return { id, sizeBytes, records };
}

async function sweep(
  { payloads, logger }: PayloadRoutesOptions,
  { body }: AdminRequest,
): Promise<SweptPayloads> {
  const request = sweepIn(body);
  const { seen, orphans, orphanBytes, removed } = await payloads.sweep(request);
  if (removed > 0) logger.info({ seen, removed }, 'payloads that no event needs were removed');
  return { ...request, seen, orphans, orphanBytes, removed };
}

// --- bytes ------------------------------------------------------------------------------------------------------------

type Reply = Parameters<AdminRoute['answer']>[1];

/** Whatever is wrong before the first bytes is told as a problem, the rest by breaking off. */
async function data(
  options: PayloadRoutesOptions,
  request: AdminRequest,
  reply: Reply,
): Promise<Readable> {
  const { ref } = claimIn(options, request);
  const pieces = options.payloads.open(ref);
  const { value: first } = await pieces.next();
  const [, name = ''] = ref.key.split('/');
  void reply.headers({
    'content-type': 'application/octet-stream',
    'content-length': ref.sizeBytes,
    // Nobody knows what it is: no browser shall find out.
    'content-disposition': `attachment; filename="${name}"`,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  });
  const { raw } = reply;
  const stream = Readable.from(brokenOff({ first, pieces, breakOff: () => reset(raw) }), {
    objectMode: false,
  });
  // Also when nobody has read a byte: then the stream alone would not give back what is open.
  stream.once('close', () => void pieces.return().catch(() => undefined));
  // Whoever has left meanwhile is not told by the stream.
  if (raw.destroyed) stream.destroy();
  return stream;
}

async function* brokenOff({
  first,
  pieces,
  breakOff,
}: {
  readonly first: Uint8Array | void;
  readonly pieces: AsyncGenerator<Uint8Array, void, undefined>;
  breakOff(): void;
}): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    if (first) yield first;
    yield* pieces;
  } catch (error) {
    breakOff();
    throw error;
  }
}

function reset({ socket }: Reply['raw']): void {
  socket?.resetAndDestroy();
}

// --- verifying --------------------------------------------------------------------------------------------------------

async function verify(
  options: PayloadRoutesOptions,
  { body }: AdminRequest,
  isUnwanted: () => boolean,
): Promise<VerifiedPage> {
  const wanted = toVerifyIn(body);
  const page =
    wanted.kind === 'page'
      ? claimsOf(options, wanted)
      : { claims: [claimNamed(options, payloadId(wanted.name))], isMore: false };
  const untilMs = options.clock.monotonicMs() + VERIFY_MS_MAX;
  const sum = { good: 0, goodBytes: 0, redacted: 0 };
  const broken: BrokenPayload[] = [];
  let last: string | null = null;
  let readBytes = 0;
  for (const claim of page.claims) {
    const { sizeBytes } = claim.ref;
    const isFull = readBytes + sizeBytes > VERIFY_BYTES_MAX;
    const isOver = isFull || options.clock.monotonicMs() > untilMs || isUnwanted();
    if (last !== null && isOver) return { ...sum, broken, last, isMore: true };
    const found = await verified(options, claim);
    last = payloadId(claim.ref);
    if (found === 'redacted') sum.redacted += 1;
    else readBytes += sizeBytes;
    if (found === 'good') {
      sum.good += 1;
      sum.goodBytes += sizeBytes;
    } else if (typeof found === 'object') {
      broken.push(found);
    }
  }
  return { ...sum, broken, last, isMore: page.isMore };
}

/** `gone`: it was delivered meanwhile, and nobody needs it any more. */
async function verified(
  { claims, payloads }: PayloadRoutesOptions,
  { ref, redactedAtMs }: Claim,
): Promise<'good' | 'redacted' | 'gone' | BrokenPayload> {
  if (redactedAtMs !== undefined) return 'redacted';
  try {
    await payloads.verify(ref);
    return 'good';
  } catch (error) {
    const id = payloadId(ref);
    const now = claims.claim(id);
    if (!now) return 'gone';
    if (now.redactedAtMs !== undefined) return 'redacted';
    return brokenPayload({ id, sizeBytes: ref.sizeBytes }, error);
  }
}

function brokenPayload(
  payload: Pick<BrokenPayload, 'id' | 'sizeBytes'>,
  error: unknown,
): BrokenPayload {
  const code = codeOf(error);
  // What has no code is a fault of ours.
  if (code === undefined) throw error;
  return { ...payload, state: stateOf(code), code, detail: messageOf(error) };
}

function stateOf(code: ErrorCode): BrokenPayload['state'] {
  if (code === 'KNEAR_PAYLOAD_MISSING') return 'missing';
  return code === 'KNEAR_PAYLOAD_CORRUPT' ? 'altered' : 'unreadable';
}

// --- which ------------------------------------------------------------------------------------------------------------

interface ClaimsPage {
  readonly claims: readonly Claim[];
  readonly last: string | null;
  readonly isMore: boolean;
}

/** All of a namespace stand together. */
function claimsOf(
  { claims: ledger }: PayloadRoutesOptions,
  { after, limit, namespace }: PayloadPage,
): ClaimsPage {
  const first = namespace === undefined ? '' : `${namespace}/`;
  const found = ledger
    .claims({ after: after > first ? after : first, limit: limit + 1 })
    .filter(({ ref }) => namespace === undefined || ref.tenant === namespace);
  const claims = found.slice(0, limit);
  const end = claims.at(-1);
  return { claims, last: end ? payloadId(end.ref) : null, isMore: found.length > limit };
}

function claimIn(
  options: PayloadRoutesOptions,
  { params: { namespace = '', hour = '', id = '' } }: AdminRequest,
): Claim {
  return claimNamed(options, payloadId(payloadNamed(`${namespace}/${hour}/${id}`)));
}

function claimNamed({ claims }: PayloadRoutesOptions, id: string): Claim {
  const claim = claims.claim(id);
  if (claim) return claim;
  throw unknown(id);
}

function unknown(id: string): KnearError {
  const detail = `no event has the payload ${id}, or none has it any more: see knear payload list`;
  return new KnearError('KNEAR_PAYLOAD_UNKNOWN', detail);
}
