/** Rows as they are stored: what comes back is what went in, and what cannot be read says so with a code. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import {
  decodeEvent,
  decodeJson,
  decodeParked,
  decodeWork,
  encodeEvent,
  encodeJson,
  encodeParked,
  encodeWork,
} from '../../broker/log/record.ts';
import type { StoredEvent, StoredParked, StoredWork } from '../../broker/log/record.ts';
import { eventSizeBytes, inlineData } from '../../core/event.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { Failure } from '../../core/ports/event-log.ts';

const failure: fc.Arbitrary<Failure> = fc.record(
  {
    code: fc.constantFrom('KNEAR_REJECTED', 'KNEAR_TIMEOUT'),
    status: fc.integer({ min: 100, max: 599 }),
    dest: fc.webUrl(),
    data: fc.uint8Array({ maxLength: 768 }),
  },
  { requiredKeys: ['code', 'status', 'dest'] },
);

const text = fc.string({ unit: 'binary', maxLength: 40 });
const ref: fc.Arbitrary<PayloadRef> = fc.record(
  {
    v: fc.constant(1 as const),
    store: text,
    tenant: text,
    key: text,
    sizeBytes: fc.nat(),
    sha256: text,
    isJson: fc.boolean(),
    createdMs: fc.integer({ min: 0, max: 9e15 }),
  },
  { requiredKeys: ['v', 'store', 'tenant', 'key', 'sizeBytes', 'sha256', 'createdMs'] },
);
const event: fc.Arbitrary<CloudEvent> = fc.record({
  attributes: fc
    .array(fc.tuple(text, fc.oneof(text, fc.integer(), fc.boolean())))
    .map((entries) => new Map(entries)),
  headers: fc.array(fc.tuple(text, text)).map((entries) => new Map(entries)),
  data: fc.option(fc.oneof(fc.uint8Array({ maxLength: 2_000 }), ref), { nil: undefined }),
});

describe('stored rows come back as they were', () => {
  test('events, whatever their attributes, headers and data are', () => {
    const stored: fc.Arbitrary<StoredEvent> = fc.record({
      ingress: fc.integer({ min: 1, max: 0xffff_ffff }),
      acceptedAtMs: fc.integer({ min: 0, max: 9e15 }),
      event,
    });
    fc.assert(
      fc.property(stored, (before) => {
        const after = decodeEvent(encodeEvent(before));
        expect(comparable(after)).toEqual(comparable(before));
        // The accounts rely on it: what is given back must be what was taken.
        expect(eventSizeBytes(after.event)).toBe(eventSizeBytes(before.event));
      }),
      { numRuns: 200 },
    );
  });

  test('no data and empty data are kept apart', () => {
    const bare = { attributes: new Map(), headers: new Map() };
    const decode = (data: Uint8Array | undefined) =>
      decodeEvent(encodeEvent({ ingress: 1, acceptedAtMs: 0, event: { ...bare, data } })).event
        .data;
    expect(decode(undefined)).toBeUndefined();
    expect(decode(new Uint8Array())).toHaveLength(0);
  });

  test('data that is a view of a larger buffer', () => {
    const data = Buffer.from('a whole request, of which this is a part').subarray(8, 15);
    const one = {
      ingress: 1,
      acceptedAtMs: 0,
      event: { attributes: new Map(), headers: new Map(), data },
    };
    expect(Buffer.from(inlineData(decodeEvent(encodeEvent(one)).event) ?? []).toString()).toBe(
      'request',
    );
  });

  test('Work', () => {
    const stored: fc.Arbitrary<StoredWork> = fc
      .record({
        phase: fc.constantFrom('deliver' as const, 'reply' as const, 'dead-letter' as const),
        attempt: fc.nat(),
        firstAtMs: fc.integer({ min: 0, max: 9e15 }),
        lastFailure: fc.option(failure, { nil: undefined }),
        dueAtMs: fc.integer({ min: 0, max: 9e15 }),
        origin: fc.option(fc.integer({ min: 1, max: 9e15 }), { nil: undefined }),
      })
      .map(({ dueAtMs, origin, lastFailure, ...work }) => ({
        work: { ...work, ...(lastFailure && { lastFailure }) },
        dueAtMs,
        ...(origin !== undefined && { origin }),
      }));
    fc.assert(
      fc.property(stored, (before) => {
        expect(comparable(decodeWork(encodeWork(before)))).toEqual(comparable(before));
      }),
    );
  });

  test('parked entries', () => {
    const stored: fc.Arbitrary<StoredParked> = fc.record({
      atMs: fc.integer({ min: 0, max: 9e15 }),
      sizeBytes: fc.nat(),
      failure,
    });
    fc.assert(
      fc.property(stored, (before) => {
        expect(comparable(decodeParked(encodeParked(before)))).toEqual(comparable(before));
      }),
    );
  });
});

describe('rows that this program cannot read', () => {
  const rows = [
    {
      name: 'an event',
      row: encodeEvent({
        ingress: 1,
        acceptedAtMs: 2,
        event: {
          attributes: new Map([['id', 'one']]),
          headers: new Map(),
          data: Buffer.from('data'),
        },
      }),
      decode: decodeEvent as (row: Buffer) => unknown,
      // 2 is that of a claimed event.
      nextVersion: 3,
    },
    {
      name: 'Work',
      row: encodeWork({ work: { phase: 'deliver', attempt: 1, firstAtMs: 2 }, dueAtMs: 3 }),
      decode: decodeWork,
      nextVersion: 2,
    },
    {
      name: 'a parked entry',
      row: encodeParked({
        atMs: 1,
        sizeBytes: 2,
        failure: { code: 'KNEAR_REJECTED', status: 500, dest: 'x' },
      }),
      decode: decodeParked,
      nextVersion: 2,
    },
    { name: 'an account', row: encodeJson({ id: 'a' }), decode: decodeJson, nextVersion: 2 },
  ];

  test.each(rows)(
    '$name of another version ends in KNEAR_LOG_FORMAT',
    ({ row, decode, nextVersion }) => {
      const other = Buffer.from(row);
      other[0] = nextVersion;
      expect(codeOfThrown(() => decode(other))).toBe('KNEAR_LOG_FORMAT');
    },
  );

  test('the record of a claimed event has a version of its own, which older programs refuse', () => {
    const [data] = fc.sample(ref, { numRuns: 1, seed: 1 });
    const bare = { attributes: new Map(), headers: new Map() };
    const versionOf = (event: CloudEvent) => encodeEvent({ ingress: 1, acceptedAtMs: 2, event })[0];
    expect(versionOf({ ...bare, data })).toBe(2);
    expect(versionOf({ ...bare, data: Buffer.from('data') })).toBe(1);
    expect(versionOf({ ...bare, data: undefined })).toBe(1);
  });

  test.each(rows)('$name without a byte is damaged', ({ decode }) => {
    expect(codeOfThrown(() => decode(Buffer.alloc(0)))).toBe('KNEAR_LOG_CORRUPT');
  });

  test.each(rows)(
    '$name that is cut off anywhere before its data is damaged',
    ({ row, decode, name }) => {
      const headBytes = name === 'an event' ? row.length - 'data'.length : row.length;
      for (let bytes = 1; bytes < headBytes; bytes += 1) {
        expect(codeOfThrown(() => decode(row.subarray(0, bytes)))).toBe('KNEAR_LOG_CORRUPT');
      }
    },
  );

  test.each(rows)(
    '$name with other bytes in its head is damaged, or reads as something else',
    ({ row, decode }) => {
      for (let index = 1; index < row.length; index += 1) {
        const damaged = Buffer.from(row);
        damaged[index] = 0xff;
        expect(['KNEAR_LOG_CORRUPT', 'read']).toContain(codeOfThrown(() => decode(damaged)));
      }
    },
  );
});

function codeOfThrown(run: () => unknown): unknown {
  try {
    run();
    return 'read';
  } catch (error) {
    return (error as { code?: unknown }).code ?? error;
  }
}

/** Maps as lists, since order counts, and bytes as text, whatever kind of Uint8Array they are. */
function comparable(value: unknown): unknown {
  if (value instanceof Map) return [...value];
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, comparable(one)]));
}
