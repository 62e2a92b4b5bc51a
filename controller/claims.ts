/**
 * What one Broker or Channel says about its data, above all about large data: read from its annotations and its ConfigMap,
 * and put on top of what holds for all.
 *
 * Wrong limits are worse than none. What cannot be understood is never left at its default in silence: it is a fault, and
 * `doors.ts` says what becomes of a door that has one.
 */
import { parseSizeBytes, sizeText, sizeWords } from '../core/size.ts';
import type { ClaimPolicy, Ingress } from '../core/topology.ts';
import { suggestion } from './suggest.ts';

/** What can be said of one Broker or Channel as well as of all; settings have the same bounds. */
export const LIMITS = {
  /** Up to the size that every intermediary takes: above it nothing is gained, and the log is slow. */
  inlineMax: { min: '0', max: '1Mi' },
  eventMax: { min: '1Ki', max: '1Gi' },
  replyMax: { min: '1Ki', max: '1Gi' },
  /** A batch is read into memory, and no request may hold more than the door has for all bodies. */
  batchMax: { min: '1Ki', max: '64Mi' },
  attributesMax: { min: '1Ki', max: '1Mi' },
  quota: { min: '1Ki', max: '65536Gi' },
} as const;

type LimitName = keyof typeof LIMITS;
export type ClaimName = LimitName | 'store';

// The names as typed lists: the table above has exactly these keys.
const LIMIT_NAMES = Object.keys(LIMITS) as LimitName[];
const CLAIM_NAMES: readonly ClaimName[] = [...LIMIT_NAMES, 'store'];

/** The one store that there is. */
export const CLAIM_STORE = 'file';

/** The keys of a ConfigMap, and what each says. */
export const CONFIG_KEYS: ReadonlyMap<string, ClaimName> = new Map(
  CLAIM_NAMES.map((name) => [`claimCheck.${name}`, name]),
);

/** Somewhere where they are written: annotations, or the data of a ConfigMap. */
export interface ClaimSource {
  /** How a fault begins; empty where it is clear. */
  readonly where: string;
  readonly data: Readonly<Record<string, string>>;
  readonly keys: ReadonlyMap<string, ClaimName>;
}

export type Limits = Pick<Ingress, 'eventMaxBytes' | 'attributesMaxBytes' | 'claims'>;

/** What holds for all. Without a bound of its own, a reply may be as large as an event. */
export interface LimitDefaults extends Omit<Limits, 'claims'> {
  readonly claims: Omit<ClaimPolicy, 'replyMaxBytes'> & { readonly replyMaxBytes?: number };
  /** K4: what the log takes as one record, whatever anybody says; absent: more than may be said. */
  readonly recordMaxBytes?: number;
}

export interface Judged {
  readonly limits: Limits;
  /** What is wrong, in sentences; if anything is, nobody has chosen these limits. */
  readonly faults: readonly string[];
}

/** The setting that holds for all. */
export function settingOf(name: LimitName): string {
  const isOlder = name === 'eventMax' || name === 'attributesMax';
  return isOlder ? name : `claimCheck${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}

/** A key that is meant for us, however it is mistyped: it must not be taken for somebody else's. */
export function isMeant(key: string): boolean {
  return /^(knear\.dev\/)?claim[-.]?check/i.test(key);
}

/** What is wrong with single keys and their values: `[key, sentence]` each. */
export function claimFaults({ data, keys }: ClaimSource): (readonly [string, string])[] {
  return Object.entries(data).flatMap(([key, text]) => {
    const name = keys.get(key);
    if (name !== undefined) {
      const fault = valueFault(name, text);
      return fault === undefined ? [] : [[key, fault] as const];
    }
    return isMeant(key) ? [[key, `unknown key${suggestion(key, keys.keys())}`] as const] : [];
  });
}

/** The limits, from the nearest source that says something of each. */
export function limitsOf(nearestFirst: readonly ClaimSource[], defaults: LimitDefaults): Judged {
  const own = ownLimits(nearestFirst);
  const limits = onTopOf(defaults, (name) => own.get(name)?.bytes);
  const faults = nearestFirst.flatMap((source) =>
    claimFaults(source).map((fault) => `${source.where}${fault.join(': ')}`),
  );
  if (faults.length > 0) return { limits, faults };
  const { inlineMaxBytes, replyMaxBytes, quotaBytes } = limits.claims;
  const contradiction = contradictionIn({
    eventMax: limits.eventMaxBytes,
    replyMax: replyMaxBytes,
    // Of all, it may be more than this door takes: nothing of it is claimed then.
    ...(own.has('inlineMax') && { inlineMax: inlineMaxBytes }),
    ...(quotaBytes !== undefined && { quota: quotaBytes }),
  });
  if (!contradiction) return { limits, faults };
  const { larger, smaller, why } = contradiction;
  const named = ({ name, bytes }: Named) =>
    `${own.get(name)?.key ?? `the setting ${settingOf(name)}`} (${sizeText(bytes)})`;
  return {
    limits,
    faults: [`${named(larger)} must not be more than ${named(smaller)}: ${why}`],
  };
}

interface Named {
  readonly name: LimitName;
  readonly bytes: number;
}

interface Contradiction {
  readonly larger: Named;
  readonly smaller: Named;
  readonly why: string;
}

/** The first two limits that are fine alone and wrong together, in bytes: one must not be `larger` than the other. */
export function contradictionIn(
  limits: Readonly<Partial<Record<LimitName, number>>>,
): Contradiction | undefined {
  for (const [one, other, why] of ORDERED) {
    const [bytes = 0, most = Infinity] = [limits[one], limits[other]];
    if (bytes > most) {
      return { larger: { name: one, bytes }, smaller: { name: other, bytes: most }, why };
    }
  }
  return undefined;
}

const NEVER_KEPT = 'the largest one could never be kept';

const ORDERED: readonly (readonly [LimitName, LimitName, string])[] = [
  ['inlineMax', 'eventMax', 'no data is as large'],
  ['eventMax', 'quota', NEVER_KEPT],
  ['replyMax', 'quota', NEVER_KEPT],
];

/** `undefined`: it is as it should be. */
function valueFault(name: ClaimName, text: string): string | undefined {
  if (name === 'store') {
    return text === CLAIM_STORE
      ? undefined
      : `"${text}" is not ${CLAIM_STORE}, and there is no other store yet`;
  }
  const { min, max } = LIMITS[name];
  const [bytes = -1, least = 0, most = 0] = [text, min, max].map(parseSizeBytes);
  return bytes >= least && bytes <= most ? undefined : `"${text}" is not ${sizeWords(min, max)}`;
}

interface OwnLimit {
  readonly key: string;
  readonly bytes: number;
}

/** Those that can be understood. */
function ownLimits(nearestFirst: readonly ClaimSource[]): ReadonlyMap<ClaimName, OwnLimit> {
  const own = new Map<ClaimName, OwnLimit>();
  for (const { data, keys } of nearestFirst) {
    for (const [key, name] of keys) {
      const bytes = parseSizeBytes(data[key] ?? '');
      if (bytes !== undefined && !own.has(name)) own.set(name, { key, bytes });
    }
  }
  return own;
}

function onTopOf(
  { eventMaxBytes, attributesMaxBytes, claims, recordMaxBytes = Infinity }: LimitDefaults,
  own: (name: LimitName) => number | undefined,
): Limits {
  const eventMax = own('eventMax') ?? eventMaxBytes;
  const quotaBytes = own('quota') ?? claims.quotaBytes;
  return {
    eventMaxBytes: eventMax,
    attributesMaxBytes: own('attributesMax') ?? attributesMaxBytes,
    claims: {
      inlineMaxBytes: Math.min(own('inlineMax') ?? claims.inlineMaxBytes, recordMaxBytes),
      replyMaxBytes: own('replyMax') ?? claims.replyMaxBytes ?? eventMax,
      batchMaxBytes: own('batchMax') ?? claims.batchMaxBytes,
      ...(quotaBytes !== undefined && { quotaBytes }),
    },
  };
}
