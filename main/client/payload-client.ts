/**
 * `knear payload`: what the admin server tells of claimed payloads (main/inside/payload-routes.ts), for people and scripts,
 * and what they want done with them. What takes long goes page by page, so that no request does.
 */
import { payloadId } from '../../core/event.ts';
import { PAYLOAD_PAGE_MAX, payloadNamed, type SweepRequest } from '../inside/payload-request.ts';
import type {
  BrokenPayload,
  ShownPayload,
  ShownPayloads,
  SweptPayloads,
  VerifiedPage,
} from '../inside/payload-routes.ts';
import { sizeText, spanText } from './amounts.ts';
import { askAdmin } from './ask-admin.ts';
import { columns } from './get.ts';

export const PAYLOAD_FORMATS = ['table', 'json'] as const;

export interface PayloadAsked {
  readonly output: (typeof PAYLOAD_FORMATS)[number];
  /** Of the admin server. */
  readonly adminUrl: string;
}

/** What came of it, and whether nothing is wrong. */
export interface PayloadReport {
  readonly text: string;
  readonly isGood: boolean;
}

/** As many as a person looks through. */
const SHOWN_MAX = 100;
/** A page takes 20 s and one payload at most; fetch itself gives up after five minutes. */
const PATIENCE_MS = 290_000;

/** @throws KNEAR_USAGE for a namespace that is none, KNEAR_ADMIN_UNREACHABLE */
export async function listPayloads({
  namespace,
  isAll,
  output,
  adminUrl,
}: PayloadAsked & { readonly namespace?: string; readonly isAll: boolean }): Promise<string> {
  const payloads: ShownPayload[] = [];
  let after: string | null = null;
  let isMore = true;
  do {
    const query = new URLSearchParams({
      limit: String(isAll ? PAYLOAD_PAGE_MAX : SHOWN_MAX),
      ...(namespace !== undefined && { namespace }),
      ...(after !== null && { after }),
    });
    // What the admin server of this very program sends; so are the other answers here.
    const page = (await askAdmin(adminUrl, `/payloads?${query.toString()}`)) as ShownPayloads;
    payloads.push(...page.payloads);
    after = page.last;
    isMore = page.isMore;
  } while (isAll && isMore);
  if (output === 'json') return jsonOf(payloads);
  const total = `${isMore ? 'The first ' : ''}${totalText(payloads)}`;
  return `${tableOf(payloads)}${total}${isMore ? '; --all shows all.' : '.'}\n`;
}

/** @throws KNEAR_PAYLOAD_UNKNOWN, KNEAR_ADMIN_UNREACHABLE */
export async function findPayload(adminUrl: string, id: string): Promise<ShownPayload> {
  return (await askAdmin(adminUrl, pathOf(id))) as ShownPayload;
}

/** @param writtenTo the file that its bytes are in now */
export function payloadText(
  payload: ShownPayload,
  { output, writtenTo }: Pick<PayloadAsked, 'output'> & { readonly writtenTo?: string | undefined },
): string {
  const { id, store, sizeBytes, sha256, isJson, createdMs, ageMs, records, redactedAtMs } = payload;
  const written = writtenTo !== undefined && { writtenTo };
  if (output === 'json') return jsonOf({ ...payload, ...written });
  return columns([
    ['id', id],
    ['store', store],
    ['size', `${sizeBytes} bytes`],
    ['sha256', sha256],
    ...(isJson === undefined ? [] : [['json', isJson ? 'yes' : 'no']]),
    ['created', `${timeText(createdMs)}, ${spanText(ageMs)} ago`],
    ['records', `${records} in the log name it`],
    ...(redactedAtMs === undefined ? [] : [['redacted', timeText(redactedAtMs)]]),
    ...(writtenTo === undefined ? [] : [['written to', writtenTo]]),
  ]);
}

/**
 * Has one payload read, or all, and tells which are not what they were.
 * @throws KNEAR_PAYLOAD_UNKNOWN, KNEAR_ADMIN_UNREACHABLE
 */
export async function verifyPayloads(
  { output, adminUrl }: PayloadAsked,
  id?: string,
): Promise<PayloadReport> {
  const sum = { good: 0, goodBytes: 0, redacted: 0 };
  const broken: BrokenPayload[] = [];
  let which: object = id === undefined ? {} : { id };
  for (let isMore = true; isMore;) {
    const page = await verifyPage(adminUrl, which);
    sum.good += page.good;
    sum.goodBytes += page.goodBytes;
    sum.redacted += page.redacted;
    broken.push(...page.broken);
    which = { after: page.last };
    isMore = page.isMore;
  }
  const isGood = broken.length === 0;
  if (output === 'json') return { text: jsonOf({ ...sum, broken }), isGood };
  return { text: verifiedText(sum, broken), isGood };
}

/** One request. @throws as `verifyPayloads` */
export async function verifyPage(adminUrl: string, which: object): Promise<VerifiedPage> {
  const options = { body: which, patienceMs: PATIENCE_MS };
  return (await askAdmin(adminUrl, '/payloads/verify', options)) as VerifiedPage;
}

/** @throws KNEAR_PAYLOAD_SWEEP, KNEAR_PAYLOAD_FOREIGN, KNEAR_ADMIN_UNREACHABLE, and what the store throws */
export async function sweepPayloads(
  { output, adminUrl }: PayloadAsked,
  request: SweepRequest,
): Promise<string> {
  const options = { body: request, patienceMs: PATIENCE_MS };
  const swept = (await askAdmin(adminUrl, '/payloads/sweep', options)) as SweptPayloads;
  if (output === 'json') return jsonOf(swept);
  const { isDryRun, seen, orphans, orphanBytes, removed } = swept;
  const all = `${payloadsText(seen)} in the store`;
  if (orphans === 0) return `Nothing to remove: an event needs each of ${all}.\n`;
  const size = sizeText(orphanBytes);
  return isDryRun
    ? `No event needs ${orphans} of ${all}, ${size}: knear payload sweep removes them.\n`
    : `Removed: ${removed} of ${all}, ${size}. No event needed them.\n`;
}

/** @throws KNEAR_PAYLOAD_UNKNOWN, KNEAR_ADMIN_UNREACHABLE, and what the store throws: then nothing is certain, repeat it. */
export async function redactPayload(
  { output, adminUrl }: PayloadAsked,
  id: string,
): Promise<string> {
  type Redacted = Pick<ShownPayload, 'id' | 'sizeBytes' | 'records'>;
  const done = (await askAdmin(adminUrl, `${pathOf(id)}/redact`, { body: {} })) as Redacted;
  if (output === 'json') return jsonOf(done);
  return (
    `Redacted: ${done.id}, ${sizeText(done.sizeBytes)}. Its bytes are gone.\n` +
    `What still waits for it ends as a dead letter without data (KNEAR_PAYLOAD_REDACTED).\n`
  );
}

// --- as text ----------------------------------------------------------------------------------------------------------

/** Longer ones, with namespaces of over 22 letters, get a line of their own: the other columns take up to 44 of 100. */
const ID_WIDTH_MAX = 56;

function tableOf(payloads: readonly ShownPayload[]): string {
  if (payloads.length === 0) return '';
  const isLong = ({ id }: ShownPayload) => id.length > ID_WIDTH_MAX;
  const rows = payloads.map((payload) => [
    isLong(payload) ? '' : payload.id,
    sizeText(payload.sizeBytes),
    spanText(payload.ageMs),
    String(payload.records),
    payload.redactedAtMs === undefined ? 'kept' : 'redacted',
  ]);
  const lines = columns([['ID', 'SIZE', 'AGE', 'RECORDS', 'STATE'], ...rows]).split('\n');
  const [head = '', ...body] = lines;
  const told = payloads.flatMap((payload, index) => [
    ...(isLong(payload) ? [payload.id] : []),
    body[index] ?? '',
  ]);
  return `${[head, ...told].join('\n')}\n`;
}

function verifiedText(
  { good, goodBytes, redacted }: Pick<VerifiedPage, 'good' | 'goodBytes' | 'redacted'>,
  broken: readonly BrokenPayload[],
): string {
  const count = (wanted: BrokenPayload['state']) =>
    broken.filter(({ state }) => state === wanted).length;
  const states = (['missing', 'altered', 'unreadable'] as const)
    .filter((state) => count(state) > 0)
    .map((state) => `${count(state)} ${state}`);
  const all = good + redacted + broken.length;
  const counts = [`${good} good (${sizeText(goodBytes)})`, ...states];
  if (redacted > 0) counts.push(`${redacted} redacted`);
  const lines = [`Verified: ${payloadsText(all)}, ${counts.join(', ')}.`];
  for (const { id, state, code } of broken.slice(0, SHOWN_MAX)) {
    lines.push(`  ${state.padEnd(10)}  ${id}${state === 'unreadable' ? `  ${code}` : ''}`);
  }
  if (broken.length > SHOWN_MAX) lines.push('  ... -o json has all');
  if (broken.length > 0) {
    lines.push('Restore what is missing or altered from a backup before its event is tried:');
    lines.push('without its payload it ends as a dead letter without data.');
  }
  return `${lines.join('\n')}\n`;
}

/** Of those that still have bytes. */
function totalText(payloads: readonly ShownPayload[]): string {
  const kept = payloads.filter(({ redactedAtMs }) => redactedAtMs === undefined);
  const bytes = kept.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return `${payloadsText(payloads.length)}, ${sizeText(bytes)}`;
}

function payloadsText(count: number): string {
  return count === 1 ? '1 payload' : `${count} payloads`;
}

function pathOf(id: string): string {
  return `/payloads/${payloadId(payloadNamed(id))}`;
}

function jsonOf(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function timeText(atMs: number): string {
  return new Date(atMs).toISOString();
}
