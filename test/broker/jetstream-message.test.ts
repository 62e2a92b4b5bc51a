/**
 * Messages in a real server: what comes back, over either way to read one, is what went in; what cannot be read says so with a
 * code.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { jetstream, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import {
  connect,
  headers as newHeaders,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
} from '@nats-io/transport-node';
import fc from 'fast-check';

import { recordMaxBytesOf } from '../../broker/log/jetstream/message.ts';
import {
  decodeMessage,
  encodeMessage,
  type OutMessage,
  type StoredMessage,
} from '../../broker/log/jetstream/message.ts';
import { claimOf, eventSizeBytes, inlineData } from '../../core/event.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import { FAILURE_DATA_MAX, type Failure, type Work } from '../../core/ports/event-log.ts';
import { openNats, type Nats } from '../servers/nats.ts';

let server: Nats;
let nc: NatsConnection;
let jsm: JetStreamManager;

beforeAll(async () => {
  server = await openNats();
  nc = await connect({ servers: server.url });
  jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: 'messages', subjects: ['messages'], storage: 'memory' });
}, 200_000);

afterAll(async () => {
  await nc.close();
  await server.close();
});

/** As who subscribes gets it, and as who asks for it gets it. */
async function throughServer({ headers, data }: OutMessage): Promise<StoredMessage[]> {
  const pushed = new Promise<Msg>((resolve, reject) => {
    nc.subscribe('messages', {
      max: 1,
      callback: (error, message) => {
        if (error) reject(error);
        else resolve(message);
      },
    });
  });
  const { seq } = await jetstream(nc).publish('messages', data, { headers });
  const message = await pushed;
  const stored = await jsm.streams.getMessage('messages', { seq });
  return [
    decodeMessage(message.headers, message.data),
    decodeMessage(stored?.header, stored?.data ?? new Uint8Array()),
  ];
}

/** What a header makes something else of, and what JavaScript does. */
const hostile = fc.constantFrom(
  ...['', ' ', ' a ', '\ta\t', 'a\r\nb: c', '\n', '\0', ':', '::', '"', '"a"', '"a\\"', '\\'],
  ...[
    '%',
    '%25',
    '%C3%A9',
    '%E9',
    '100 %',
    'é',
    '日本',
    '😀',
    '\ud800',
    'a\udc00',
    '\u2028',
    '\xa0',
  ],
  ...['__proto__', 'constructor', 'true', '1', 'NATS/1.0', 'null'],
);
const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), hostile);
const attributeName = fc.oneof(
  fc.stringMatching(/^[a-z0-9]{1,20}$/),
  fc.constantFrom('id', 'type', 'source', 'time', 'constructor', '__proto__', 'tostring'),
);
const headerName = fc.constantFrom(
  'traceparent',
  'x-request-id',
  'knative-x',
  '__proto__',
  'ce-id',
);
const ref: fc.Arbitrary<PayloadRef> = fc.record(
  {
    v: fc.constant(1 as const),
    store: text,
    tenant: text,
    key: text,
    sizeBytes: fc.nat(),
    sha256: text,
    isJson: fc.boolean(),
    createdMs: fc.nat(),
  },
  { requiredKeys: ['v', 'store', 'tenant', 'key', 'sizeBytes', 'sha256', 'createdMs'] },
);
const event: fc.Arbitrary<CloudEvent> = fc.record({
  attributes: fc
    .array(fc.tuple(attributeName, fc.oneof(text, fc.integer(), fc.boolean())), { maxLength: 12 })
    .map((entries) => new Map(entries)),
  headers: fc.array(fc.tuple(headerName, text)).map((entries) => new Map(entries)),
  data: fc.option(fc.oneof(fc.uint8Array({ maxLength: 2_000 }), ref), { nil: undefined }),
});
const failure: fc.Arbitrary<Failure> = fc.record(
  {
    code: fc.constantFrom('KNEAR_REJECTED', 'KNEAR_TIMEOUT'),
    status: fc.integer({ min: 0, max: 599 }),
    dest: text,
    data: fc.uint8Array({ maxLength: FAILURE_DATA_MAX }),
  },
  { requiredKeys: ['code', 'status', 'dest'] },
);
const work: fc.Arbitrary<Work> = fc.record(
  {
    phase: fc.constantFrom('deliver', 'reply', 'dead-letter'),
    attempt: fc.nat(),
    firstAtMs: fc.nat(),
    lastFailure: failure,
  },
  { requiredKeys: ['phase', 'attempt', 'firstAtMs'] },
);
const message: fc.Arbitrary<StoredMessage> = fc.record(
  {
    event,
    acceptedAtMs: fc.integer({ min: 0, max: 9e15 }),
    work,
    origin: event,
    parked: fc.record({ failure, atMs: fc.nat() }),
  },
  { requiredKeys: ['event', 'acceptedAtMs'] },
);

describe('a message comes back as it was', () => {
  test('whatever its event, its Work, its origin and its failure hold', async () => {
    await fc.assert(
      fc.asyncProperty(message, async (before) => {
        for (const after of await throughServer(encodeMessage(before))) {
          expect(comparable(after)).toEqual(comparable(before));
          expect(eventSizeBytes(after.event)).toBe(eventSizeBytes(before.event));
        }
      }),
      { numRuns: 300 },
    );
  }, 60_000);

  test('and its headers are those of the NATS binding, for other tools', async () => {
    const { headers } = encodeMessage({
      acceptedAtMs: 1,
      event: eventOf([
        ['id', 'é "1" %'],
        ['type', 'com.example.order'],
        ['count', 7],
      ]),
    });
    expect(headers.get('ce-id')).toBe('%C3%A9%20%221%22%20%25');
    expect(headers.get('ce-type')).toBe('com.example.order');
    expect(headers.get('ce-count')).toBe('7');
    expect(headers.get('knear')).toMatch(/^[\x20-\x7e]+$/);
  });

  test('no data and empty data are kept apart', async () => {
    for (const data of [undefined, new Uint8Array()]) {
      const [after] = await throughServer(
        encodeMessage({ acceptedAtMs: 1, event: eventOf([['id', '1']], data) }),
      );
      expect(after && inlineData(after.event)?.byteLength).toBe(data?.byteLength);
    }
  });
});

test('two records of the largest size and a failure fit into one message', async () => {
  const { max_payload: payloadMaxBytes = 0 } = nc.info ?? {};
  const record = largest(recordMaxBytesOf(payloadMaxBytes), 60_000);
  expect(eventSizeBytes(record)).toBe(recordMaxBytesOf(payloadMaxBytes));
  const lastFailure: Failure = {
    code: 'KNEAR_REJECTED',
    status: 500,
    dest: `http://subscriber.example/${'x'.repeat(2_000)}`,
    data: Buffer.alloc(FAILURE_DATA_MAX, 255),
  };
  const before: StoredMessage = {
    event: record,
    origin: record,
    acceptedAtMs: 1_700_000_000_000,
    work: { phase: 'reply', attempt: 10, firstAtMs: 1_700_000_000_000, lastFailure },
  };
  for (const after of await throughServer(encodeMessage(before))) {
    expect(comparable(after)).toEqual(comparable(before));
  }
});

describe('what cannot be read', () => {
  const CORRUPT = 'KNEAR_LOG_CORRUPT';
  const good = () =>
    encodeMessage({ acceptedAtMs: 1, event: eventOf([['id', '1']], Buffer.from('data')) });
  const withKnear = (value: string) => {
    const { headers, data } = good();
    headers.set('knear', value);
    return { headers, data };
  };
  const cases: { name: string; code: string; of: () => { headers?: MsgHdrs; data: Uint8Array } }[] =
    [
      {
        name: 'a message without headers',
        code: CORRUPT,
        of: () => ({ data: Buffer.from('hello') }),
      },
      {
        name: 'one of somebody else',
        code: CORRUPT,
        of: () => ({ headers: otherHeaders(), data: Buffer.from('hello') }),
      },
      { name: 'a later version', code: 'KNEAR_LOG_FORMAT', of: () => withKnear('{"v":2,"t":1}') },
      { name: 'no JSON', code: CORRUPT, of: () => withKnear('{"v":1,') },
      ...['null', '[]', '"v"', '1', '{}', '{"v":"1"}', '{"v":1}'].map((value) => ({
        name: `a header of ${value}`,
        code: CORRUPT,
        of: () => withKnear(value),
      })),
      { name: 'headers that are none', code: CORRUPT, of: () => withKnear('{"v":1,"t":1,"h":7}') },
      {
        name: 'attributes that are none',
        code: CORRUPT,
        of: () => withKnear('{"v":1,"t":1,"n":[1]}'),
      },
      {
        name: 'an origin that is none',
        code: CORRUPT,
        of: () => withKnear('{"v":1,"t":1,"o":{"a":7}}'),
      },
      { name: 'data that is cut off', code: CORRUPT, of: () => withKnear('{"v":1,"t":1,"d":5}') },
      {
        name: 'an attribute that is no UTF-8',
        code: CORRUPT,
        of: () => {
          const { headers, data } = good();
          headers.set('ce-id', '%FF');
          return { headers, data };
        },
      },
    ];

  test.each(cases)('$name: $code', async ({ code, of }) => {
    const { headers = newHeaders(), data } = of();
    await expect(throughServer({ headers, data })).rejects.toMatchObject({ code });
  });
});

function otherHeaders(): MsgHdrs {
  const headers = newHeaders();
  headers.set('Content-Type', 'text/plain');
  return headers;
}

function eventOf(
  attributes: readonly (readonly [string, string | number])[],
  data?: Uint8Array,
): CloudEvent {
  return { attributes: new Map(attributes), headers: new Map(), data };
}

/** @param attributesBytes about so many of them are attributes, as a door lets them in at most */
function largest(sizeBytes: number, attributesBytes: number): CloudEvent {
  const event = eventOf([
    ['id', '1'],
    ['type', 'com.example.order'],
    ['long', 'x'.repeat(attributesBytes / 2)],
  ]);
  return { ...event, data: Buffer.alloc(sizeBytes - eventSizeBytes(event), 'd') };
}

/** Data of equal bytes are equal, whatever kind of Uint8Array they came as. */
function comparable({ event, origin, work, parked, acceptedAtMs }: StoredMessage): unknown {
  return {
    acceptedAtMs,
    event: plain(event),
    origin: origin && plain(origin),
    work: work && { ...work, lastFailure: work.lastFailure && plainFailure(work.lastFailure) },
    parked: parked && { ...parked, failure: plainFailure(parked.failure) },
  };
}

function plain(event: CloudEvent): unknown {
  const data = inlineData(event);
  return {
    // As lists: objects have names of their own, such as `__proto__`.
    attributes: [...event.attributes].toSorted(byName),
    headers: [...event.headers],
    data: claimOf(event) ?? (data && Buffer.from(data).toString('base64')),
  };
}

function byName([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : 1;
}

/** No data and empty data of a failure say the same. */
function plainFailure({ data = new Uint8Array(), ...rest }: Failure): unknown {
  return { ...rest, data: Buffer.from(data).toString('base64') };
}
