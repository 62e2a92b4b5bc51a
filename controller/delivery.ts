/** From a DeliverySpec, ISO 8601 durations and all, to what an egress needs: retries, waits and time limits in ms. */
import { parse } from 'tinyduration';
import type { DeliverySpec } from '../core/resources.ts';
import type { Egress, RetryPolicy } from '../core/topology.ts';

/** What Knative's webhook gives a Broker without `spec.delivery`. Source: its ConfigMap `config-br-defaults`. */
export const BROKER_DELIVERY_DEFAULT: DeliverySpec = {
  retry: 10,
  backoffPolicy: 'exponential',
  backoffDelay: 'PT0.2S',
};

/** The longest wait that a timer of Node.js can hold (24.8 days); a longer one would fire at once. */
const DURATION_MAX_MS = 2 ** 31 - 1;

const DAY_MS = 86_400_000;
/** Calendar units without a calendar: the mean Gregorian year, as Knative's duration parser counts. */
const YEAR_MS = 365.2425 * DAY_MS;

/**
 * Retries, backoff, time limit: one block, taken whole from the first DeliverySpec there is, the resource's own before
 * the one it inherits. The dead letter sink is none of it (it is inherited by itself), and neither is `format` (never
 * inherited). Source: Knative Eventing, which differs from its specification here and is what its tests check.
 */
export function compileDelivery(
  own: DeliverySpec | undefined,
  inherited: DeliverySpec | undefined,
  { timeoutMs: defaultMs, idleMs }: { readonly timeoutMs: number; readonly idleMs: number },
): Pick<Egress, 'retry' | 'timeoutMs' | 'idleMs' | 'format'> {
  const spec = own ?? inherited ?? {};
  const timeoutMs = optionalMs(spec.timeout);
  return {
    retry: compileRetry(spec),
    ...(timeoutMs === undefined ? { timeoutMs: defaultMs, idleMs } : { timeoutMs }),
    format: own?.format ?? 'binary',
  };
}

/** Without a policy or without a delay, retries follow each other at once, as in Knative. */
function compileRetry(spec: DeliverySpec): RetryPolicy {
  const delayMs = optionalMs(spec.backoffDelay);
  const retryAfterMaxMs = optionalMs(spec.retryAfterMax);
  const hasBackoff = spec.backoffPolicy !== undefined && delayMs !== undefined;
  return {
    retries: spec.retry ?? 0,
    backoff: hasBackoff ? spec.backoffPolicy : 'none',
    delayMs: hasBackoff ? delayMs : 0,
    ...(retryAfterMaxMs !== undefined && { retryAfterMaxMs }),
  };
}

function optionalMs(text: string | undefined): number | undefined {
  return text === undefined ? undefined : durationMs(text);
}

const part = (unit: string) => String.raw`(\d+([.,]\d+)?${unit})?`;

/** As the schemas have it. */
const DURATION = new RegExp(
  `^P${part('Y')}${part('M')}${part('W')}${part('D')}(T${part('H')}${part('M')}${part('S')})?$`,
);

/** Milliseconds of an ISO 8601 duration, at most `DURATION_MAX_MS`; `undefined` if it is none or negative. */
export function durationMs(text: string): number | undefined {
  // The library takes signs, and whatever stands before or behind a duration.
  if (!DURATION.test(text)) return undefined;
  let duration;
  try {
    duration = parse(text);
  } catch {
    // Its only error: no unit has a number (`P`, `PT`).
    return undefined;
  }
  const {
    years = 0,
    months = 0,
    weeks = 0,
    days = 0,
    hours = 0,
    minutes = 0,
    seconds = 0,
  } = duration;
  const ms =
    years * YEAR_MS +
    (months * YEAR_MS) / 12 +
    (weeks * 7 + days) * DAY_MS +
    ((hours * 60 + minutes) * 60 + seconds) * 1000;
  return Math.min(Math.round(ms), DURATION_MAX_MS);
}
