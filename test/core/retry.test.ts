import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { delayOf, judge, type JudgeContext, type Verdict } from '../../core/rules/retry.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Outcome, PayloadFault } from '../../core/ports/deliverer.ts';
import type { RetryPolicy } from '../../core/topology.ts';

const HOUR_MS = 3_600_000;
const DEST = 'http://orders.default.svc.cluster.local/in';

const reply: CloudEvent = {
  attributes: new Map([['id', 'reply-1']]),
  headers: new Map(),
  data: undefined,
};

function context(changes: Partial<JudgeContext> = {}, policy: Partial<RetryPolicy> = {}) {
  return {
    policy: { retries: 3, backoff: 'exponential', delayMs: 100, ...policy },
    attempt: 0,
    dest: DEST,
    replies: 'strict',
    backoffMaxMs: HOUR_MS,
    ...changes,
  } satisfies JudgeContext;
}

function rejected(status: number, more: { retryAfterMs?: number; body?: Uint8Array } = {}) {
  return { kind: 'rejected', status, ...more } satisfies Outcome;
}

function malformed(code: Extract<Outcome, { kind: 'malformed' }>['code'], body?: string): Outcome {
  const detail = 'id is missing';
  const outcome = { kind: 'malformed', status: 200, code, detail } as const;
  return body === undefined ? outcome : { ...outcome, body: Buffer.from(body) };
}

function unreachable(code: Extract<Outcome, { kind: 'unreachable' }>['code']): Outcome {
  return { kind: 'unreachable', code, detail: 'connect ECONNREFUSED 10.0.0.1:80' };
}

function payload(code: PayloadFault): Outcome {
  return { kind: 'payload', code, detail: 'what the store said' };
}

function failureOf(verdict: Verdict) {
  if (!('failure' in verdict)) throw new Error(`${verdict.kind} has no failure`);
  return verdict.failure;
}

describe('the verdict on one attempt', () => {
  const cases: { outcome: string; of: Outcome; broker: string; channel?: string }[] = [
    { outcome: 'an empty 2xx', of: { kind: 'accepted', status: 202 }, broker: 'done' },
    { outcome: 'an event', of: { kind: 'replied', status: 200, event: reply }, broker: 'reply' },
    { outcome: 'status 199', of: rejected(199), broker: 'exhausted' },
    { outcome: 'status 300', of: rejected(300), broker: 'exhausted' },
    { outcome: 'status 307', of: rejected(307), broker: 'exhausted' },
    { outcome: 'status 400', of: rejected(400), broker: 'exhausted' },
    { outcome: 'status 401', of: rejected(401), broker: 'exhausted' },
    { outcome: 'status 403', of: rejected(403), broker: 'exhausted' },
    { outcome: 'status 404', of: rejected(404), broker: 'again' },
    { outcome: 'status 405', of: rejected(405), broker: 'exhausted' },
    { outcome: 'status 408', of: rejected(408), broker: 'again' },
    { outcome: 'status 409', of: rejected(409), broker: 'again' },
    { outcome: 'status 413', of: rejected(413), broker: 'exhausted' },
    { outcome: 'status 422', of: rejected(422), broker: 'exhausted' },
    { outcome: 'status 429', of: rejected(429), broker: 'again' },
    { outcome: 'status 499', of: rejected(499), broker: 'exhausted' },
    { outcome: 'status 500', of: rejected(500), broker: 'again' },
    { outcome: 'status 503', of: rejected(503), broker: 'again' },
    { outcome: 'status 599', of: rejected(599), broker: 'again' },
    {
      outcome: 'a body that is no event',
      of: malformed('KNEAR_REPLY_FOREIGN', 'OK'),
      broker: 'again',
      channel: 'done',
    },
    { outcome: 'a broken event', of: malformed('KNEAR_REPLY_INVALID'), broker: 'again' },
    { outcome: 'too large a reply', of: malformed('KNEAR_REPLY_TOO_LARGE'), broker: 'exhausted' },
    { outcome: 'no connection', of: unreachable('KNEAR_UNREACHABLE'), broker: 'again' },
    { outcome: 'a broken connection', of: unreachable('KNEAR_RESET'), broker: 'again' },
    { outcome: 'no answer in time', of: unreachable('KNEAR_TIMEOUT'), broker: 'again' },
    {
      outcome: 'an address that cannot be called',
      of: unreachable('KNEAR_SUBSCRIBER_INVALID'),
      broker: 'exhausted',
    },
    {
      outcome: 'a payload that is missing',
      of: payload('KNEAR_PAYLOAD_MISSING'),
      broker: 'exhausted',
    },
    {
      outcome: 'a payload that was altered',
      of: payload('KNEAR_PAYLOAD_CORRUPT'),
      broker: 'exhausted',
    },
    { outcome: 'a redacted payload', of: payload('KNEAR_PAYLOAD_REDACTED'), broker: 'exhausted' },
    { outcome: 'a store that is away', of: payload('KNEAR_PAYLOAD_STORE_AWAY'), broker: 'wait' },
    { outcome: 'a store that says no', of: payload('KNEAR_PAYLOAD_STORE_DENIED'), broker: 'wait' },
    { outcome: 'a full store', of: payload('KNEAR_PAYLOAD_STORE_FULL'), broker: 'wait' },
    { outcome: 'a quota that is used up', of: payload('KNEAR_PAYLOAD_QUOTA'), broker: 'wait' },
    { outcome: 'too many uploads', of: payload('KNEAR_UPLOADS_BUSY'), broker: 'wait' },
  ];

  test.each(cases)('$outcome: $broker on a Broker', ({ of, broker }) => {
    expect(judge(of, context({ replies: 'strict' })).kind).toBe(broker);
  });

  test.each(cases.filter(({ of }) => of.kind === 'malformed'))(
    '$outcome is ignored where nobody wants a reply',
    ({ of }) => {
      expect(judge(of, context({ replies: 'ignored' }))).toEqual({ kind: 'done' });
    },
  );

  const onChannels = cases.map((of) => ({ ...of, channel: of.channel ?? of.broker }));
  test.each(onChannels)('$outcome: $channel on a Channel', ({ of, channel }) => {
    expect(judge(of, context({ replies: 'lenient' })).kind).toBe(channel);
  });

  test('hands on the reply itself', () => {
    const verdict = judge({ kind: 'replied', status: 202, event: reply }, context());
    expect(verdict).toEqual({ kind: 'reply', event: reply });
  });

  test.each([
    { retries: 0, attempt: 0, kind: 'exhausted' },
    { retries: 1, attempt: 0, kind: 'again' },
    { retries: 1, attempt: 1, kind: 'exhausted' },
    { retries: 10, attempt: 9, kind: 'again' },
    { retries: 10, attempt: 10, kind: 'exhausted' },
    { retries: 3, attempt: 7, kind: 'exhausted' },
  ])('$retries retries, $attempt attempts before: $kind', ({ retries, attempt, kind }) => {
    expect(judge(rejected(500), context({ attempt }, { retries })).kind).toBe(kind);
  });
});

describe('trouble with a payload (K33)', () => {
  test.each([
    { retries: 0, attempt: 0 },
    { retries: 3, attempt: 3 },
    { retries: 3, attempt: 1_000 },
  ])(
    'waits whatever the retries are: $retries, after $attempt attempts',
    ({ retries, attempt }) => {
      const verdict = judge(payload('KNEAR_PAYLOAD_STORE_AWAY'), context({ attempt }, { retries }));
      expect(verdict.kind).toBe('wait');
    },
  );

  test('that is for good is not tried again, however many retries are left', () => {
    const verdict = judge(payload('KNEAR_PAYLOAD_MISSING'), context({}, { retries: 50 }));
    expect(verdict.kind).toBe('exhausted');
  });

  test.each(['strict', 'lenient', 'ignored'] as const)(
    'is never ignored, though a reply may be the reason (%s)',
    (replies) => {
      expect(judge(payload('KNEAR_PAYLOAD_STORE_FULL'), context({ replies })).kind).toBe('wait');
      expect(judge(payload('KNEAR_PAYLOAD_CORRUPT'), context({ replies })).kind).toBe('exhausted');
    },
  );

  test.each([
    { code: 'KNEAR_PAYLOAD_MISSING', status: 500 },
    { code: 'KNEAR_PAYLOAD_STORE_AWAY', status: 503 },
    { code: 'KNEAR_UPLOADS_BUSY', status: 429 },
  ] as const)('tells its code and what the store said: $code', ({ code, status }) => {
    expect(failureOf(judge(payload(code), context()))).toEqual({
      code,
      status,
      dest: DEST,
      data: new Uint8Array(Buffer.from('what the store said')),
    });
  });
});

describe('the wait before the next attempt', () => {
  test.each([
    { backoff: 'exponential', delayMs: 200, waits: [200, 400, 800, 1_600] },
    { backoff: 'linear', delayMs: 200, waits: [200, 400, 600, 800] },
    { backoff: 'none', delayMs: 200, waits: [0, 0, 0, 0] },
    { backoff: 'exponential', delayMs: 0, waits: [0, 0, 0, 0] },
    { backoff: 'linear', delayMs: 0, waits: [0, 0, 0, 0] },
    { backoff: 'exponential', delayMs: HOUR_MS / 2, waits: [HOUR_MS / 2, HOUR_MS, HOUR_MS] },
    { backoff: 'linear', delayMs: 2 * HOUR_MS, waits: [HOUR_MS, HOUR_MS] },
  ] as const)('$backoff from $delayMs ms: $waits', ({ backoff, delayMs, waits }) => {
    const policy = { retries: 10, backoff, delayMs };
    expect(waits.map((_, attempt) => delayOf(policy, attempt, HOUR_MS))).toEqual(waits);
  });

  test.each([
    { name: 'longer than the backoff', status: 429, retryAfterMs: 5_000, maxMs: 9_000, is: 5_000 },
    { name: 'for a 503 as well', status: 503, retryAfterMs: 5_000, maxMs: 9_000, is: 5_000 },
    { name: 'cut to its limit', status: 503, retryAfterMs: 5_000, maxMs: 2_000, is: 2_000 },
    { name: 'shorter than the backoff', status: 429, retryAfterMs: 50, maxMs: 9_000, is: 100 },
    { name: 'switched off by PT0S', status: 429, retryAfterMs: 5_000, maxMs: 0, is: 100 },
    { name: 'without the option', status: 429, retryAfterMs: 5_000, maxMs: undefined, is: 100 },
    { name: 'with another status', status: 500, retryAfterMs: 5_000, maxMs: 9_000, is: 100 },
    { name: 'absent', status: 429, retryAfterMs: undefined, maxMs: 9_000, is: 100 },
    {
      name: 'beyond the longest backoff',
      status: 429,
      retryAfterMs: 3 * HOUR_MS,
      maxMs: 2 * HOUR_MS,
      is: 2 * HOUR_MS,
    },
  ])('Retry-After $name: $is ms', ({ status, retryAfterMs, maxMs, is }) => {
    const outcome = rejected(status, retryAfterMs === undefined ? {} : { retryAfterMs });
    const policy = maxMs === undefined ? {} : { retryAfterMaxMs: maxMs };
    expect(judge(outcome, context({}, policy))).toMatchObject({ kind: 'again', delayMs: is });
  });
});

describe('what the failure tells', () => {
  test('an answer: its status and the start of its body', () => {
    const body = Buffer.from('no such customer');
    expect(failureOf(judge(rejected(422, { body }), context()))).toEqual({
      code: 'KNEAR_REJECTED',
      status: 422,
      dest: DEST,
      data: body,
    });
  });

  test('an answer without a body has no data', () => {
    expect(failureOf(judge(rejected(500), context()))).not.toHaveProperty('data');
    const empty = judge(rejected(500, { body: new Uint8Array() }), context());
    expect(failureOf(empty)).not.toHaveProperty('data');
  });

  test('no answer: 500, and the reason in the words of the reference', () => {
    const failure = failureOf(judge(unreachable('KNEAR_UNREACHABLE'), context()));
    expect(failure).toMatchObject({ code: 'KNEAR_UNREACHABLE', status: 500, dest: DEST });
    expect(Buffer.from(failure.data ?? []).toString()).toBe(
      'dispatch error: connect ECONNREFUSED 10.0.0.1:80',
    );
  });

  test('a malformed reply: 502, and the body, or without one what is wrong with it', () => {
    const foreign = failureOf(judge(malformed('KNEAR_REPLY_FOREIGN', '<html>'), context()));
    expect(foreign).toMatchObject({ code: 'KNEAR_REPLY_FOREIGN', status: 502 });
    expect(Buffer.from(foreign.data ?? []).toString()).toBe('<html>');
    const headless = failureOf(judge(malformed('KNEAR_REPLY_INVALID'), context()));
    expect(Buffer.from(headless.data ?? []).toString()).toBe('id is missing');
  });

  test('never more than 768 bytes, and no half character', () => {
    const long = { kind: 'unreachable', code: 'KNEAR_RESET', detail: 'é'.repeat(2_000) } as const;
    const data = failureOf(judge(long, context())).data ?? new Uint8Array();
    // 16 bytes of "dispatch error: " and 376 times two bytes.
    expect(data.byteLength).toBe(768);
    expect(new TextDecoder('utf-8', { fatal: true }).decode(data)).toMatch(/^dispatch error: é+$/);
    const odd = failureOf(judge({ ...long, detail: `.${long.detail}` }, context())).data;
    expect(odd?.byteLength).toBe(767);
    const body = Buffer.alloc(2_000, 0xff);
    expect(failureOf(judge(rejected(500, { body }), context())).data?.byteLength).toBe(768);
  });
});

describe('the schedule, whatever the policy', () => {
  const policies = fc.record({
    retries: fc.nat(50),
    backoff: fc.constantFrom('none' as const, 'linear' as const, 'exponential' as const),
    delayMs: fc.oneof(fc.constant(0), fc.nat(), fc.double({ min: 0, max: 1e12, noNaN: true })),
  });
  const attempts = fc.oneof(fc.nat(100), fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER));

  test('a wait is a number from 0 to the cap, and never shorter than the one before', () => {
    fc.assert(
      fc.property(policies, attempts, fc.nat(), (policy, attempt, backoffMaxMs) => {
        const delayMs = delayOf(policy, attempt, backoffMaxMs);
        expect(delayMs).toBeGreaterThanOrEqual(0);
        expect(delayMs).toBeLessThanOrEqual(backoffMaxMs);
        expect(delayOf(policy, attempt + 1, backoffMaxMs)).toBeGreaterThanOrEqual(delayMs);
      }),
    );
  });

  test('an event that always fails is tried once and then once for each retry', () => {
    fc.assert(
      fc.property(policies, fc.constantFrom(404, 429, 500, 503), (policy, status) => {
        let attempt = 0;
        while (judge(rejected(status), context({ attempt, policy })).kind === 'again') attempt += 1;
        expect(attempt + 1).toBe(policy.retries + 1);
      }),
    );
  });

  test('Retry-After only ever lengthens a wait, and never beyond its limit', () => {
    const retryAfter = fc.record({ retryAfterMs: fc.nat(), retryAfterMaxMs: fc.nat() });
    fc.assert(
      fc.property(policies, retryAfter, (policy, { retryAfterMs, retryAfterMaxMs }) => {
        const backoffMs = delayOf(policy, 0, HOUR_MS);
        const verdict = judge(
          rejected(503, { retryAfterMs }),
          context({ policy: { ...policy, retries: 1, retryAfterMaxMs } }),
        );
        const delayMs = verdict.kind === 'again' ? verdict.delayMs : NaN;
        expect(delayMs).toBeGreaterThanOrEqual(backoffMs);
        expect(delayMs).toBeLessThanOrEqual(Math.max(backoffMs, retryAfterMaxMs));
      }),
    );
  });
});
