import { describe, expect, test } from '@jest/globals';
import type { AttributeValue, CloudEvent } from '../../core/event.ts';
import { attributesSizeBytes } from '../../core/event.ts';
import { admit, asReply, forSubscriber } from '../../core/rules/admit.ts';
import type { Ingress } from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';

const NOON_MS = Date.UTC(2026, 10, 25, 12, 0, 0, 250);

function ingress(changes: Partial<Ingress> = {}): Ingress {
  return {
    id: 'Broker/default/orders',
    kind: 'broker',
    namespace: 'default',
    name: 'orders',
    path: '/default/orders',
    hosts: [],
    eventMaxBytes: 1_000,
    attributesMaxBytes: 1_000,
    isEarly: true,
    claims: CLAIMS,
    hops: { isOn: false, redoMaxMs: 1_000 },
    ...changes,
  };
}

function event(
  attributes: Record<string, AttributeValue> = {},
  { dataBytes, headers = {} }: { dataBytes?: number; headers?: Record<string, string> } = {},
): CloudEvent {
  const required = { specversion: '1.0', id: '1', source: '/shop', type: 'order.created' };
  return {
    attributes: new Map<string, AttributeValue>(Object.entries({ ...required, ...attributes })),
    headers: new Map(Object.entries(headers)),
    data: dataBytes === undefined ? undefined : new Uint8Array(dataBytes),
  };
}

function admitted(given: CloudEvent, into = ingress()): CloudEvent {
  const admission = admit(into, given, NOON_MS);
  if (admission.kind !== 'admitted') throw new Error(`refused: ${admission.code}`);
  return admission.event;
}

describe('a Broker', () => {
  test('stamps the time of arrival in UTC, over whatever the producer set', () => {
    const stamped = admitted(event({ knativearrivaltime: '1999-01-01T00:00:00Z' }));
    expect(stamped.attributes.get('knativearrivaltime')).toBe('2026-11-25T12:00:00.250Z');
  });

  test.each<[string, AttributeValue | undefined, number]>([
    ['starts at 255 without a count', undefined, 255],
    ['counts a text down', '10', 9],
    ['counts a JSON integer down', 10, 9],
    ['lets the last hop in', '2', 1],
    ['keeps a count above its own start', '1000', 999],
    ['takes a sign for part of an integer', '+7', 6],
    ['starts over for text', 'many', 255],
    ['starts over for an empty text', '', 255],
    ['starts over for white space around a number', ' 7', 255],
    ['starts over for a fraction', '7.5', 255],
    ['starts over for a fraction in JSON', 7.5, 255],
    ['starts over for an exponent', '1e2', 255],
    ['starts over for a truth value', true, 255],
    ['starts over past 32 bits', '2147483648', 255],
    ['counts the largest integer down', '2147483647', 2147483646],
  ])('%s (knativebrokerttl)', (_name, ttl, expected) => {
    const given = event(ttl === undefined ? {} : { knativebrokerttl: ttl });
    expect(admitted(given).attributes.get('knativebrokerttl')).toBe(expected);
  });

  test.each<[AttributeValue]>([['1'], [1], ['0'], ['-1'], [-2147483648], ['-0']])(
    'refuses an event whose count is used up: %p',
    (ttl) => {
      expect(admit(ingress(), event({ knativebrokerttl: ttl }), NOON_MS)).toMatchObject({
        kind: 'refused',
        code: 'KNEAR_TTL_EXHAUSTED',
      });
    },
  );

  test('lets an event pass 255 times and no more', () => {
    let current = admitted(event());
    let hops = 1;
    for (;;) {
      const admission = admit(ingress(), current, NOON_MS);
      if (admission.kind === 'refused') break;
      current = admission.event;
      hops += 1;
    }
    expect(hops).toBe(255);
  });

  test('leaves everything else alone, the given event included', () => {
    const given = event({ tenant: 'a', number: 7 }, { dataBytes: 3, headers: { 'x-b3-a': '1' } });
    const before = new Map(given.attributes);
    const { attributes, headers, data } = admitted(given);
    expect(given.attributes).toEqual(before);
    expect([...attributes].filter(([name]) => !name.startsWith('knative'))).toEqual([...before]);
    expect(headers).toBe(given.headers);
    expect(data).toBe(given.data);
  });
});

describe('a Channel', () => {
  test('adds nothing, and hands on the count of a Broker that uses it', () => {
    const given = event({ knativebrokerttl: '1', knativearrivaltime: 'then' });
    expect(admitted(given, ingress({ kind: 'channel' }))).toBe(given);
  });
});

describe('limits', () => {
  test.each<['broker' | 'channel']>([['broker'], ['channel']])('hold for a %s', (kind) => {
    const into = ingress({ kind, eventMaxBytes: 10 });
    expect(admit(into, event({}, { dataBytes: 10 }), NOON_MS).kind).toBe('admitted');
    expect(admit(into, event({}, { dataBytes: 11 }), NOON_MS)).toMatchObject({
      kind: 'refused',
      code: 'KNEAR_EVENT_TOO_LARGE',
      detail: expect.stringMatching(/11 bytes.*10.*eventMax/),
    });
  });

  test('count attributes as they came, before the stamps of the Broker', () => {
    const given = event({ tenant: 'a' });
    const sizeBytes = attributesSizeBytes(given);
    expect(admit(ingress({ attributesMaxBytes: sizeBytes }), given, NOON_MS).kind).toBe('admitted');
    expect(admit(ingress({ attributesMaxBytes: sizeBytes - 1 }), given, NOON_MS)).toMatchObject({
      kind: 'refused',
      code: 'KNEAR_ATTRIBUTES_TOO_LARGE',
      detail: expect.stringContaining('attributesMax'),
    });
  });

  test('count the headers that are passed on as well', () => {
    const given = event({}, { headers: { 'knative-note': 'x'.repeat(1_000) } });
    expect(admit(ingress(), given, NOON_MS)).toMatchObject({ code: 'KNEAR_ATTRIBUTES_TOO_LARGE' });
  });

  test('come before the count, so that a large looping event is named for its size', () => {
    const given = event({ knativebrokerttl: '1' }, { dataBytes: 1_001 });
    expect(admit(ingress(), given, NOON_MS)).toMatchObject({ code: 'KNEAR_EVENT_TOO_LARGE' });
  });
});

describe('the count of hops on its way', () => {
  test('is not shown to a subscriber; the time of arrival is', () => {
    const { attributes } = forSubscriber(admitted(event()));
    expect(attributes.has('knativebrokerttl')).toBe(false);
    expect(attributes.has('knativearrivaltime')).toBe(true);
  });

  test('costs no copy where there is none', () => {
    const given = event();
    expect(forSubscriber(given)).toBe(given);
  });

  test.each<[string, Record<string, AttributeValue>]>([
    ['has none', {}],
    ['brings a fresh one', { knativebrokerttl: 255 }],
    ['brings text', { knativebrokerttl: 'x' }],
  ])("comes back with a reply that %s, at the input's value", (_name, attributes) => {
    const input = admitted(event({ knativebrokerttl: 9 }));
    const reply = event({ id: '2', ...attributes }, { headers: { 'knative-note': 'kept' } });
    const given = asReply(reply, input);
    expect(given.attributes.get('knativebrokerttl')).toBe(8);
    expect(given.attributes.get('id')).toBe('2');
    expect(given.headers.get('knative-note')).toBe('kept');
    expect(admitted(given).attributes.get('knativebrokerttl')).toBe(7);
  });

  test('stays as it is when the input has none, as on a Channel', () => {
    const reply = event({ knativebrokerttl: 3 });
    expect(asReply(reply, event())).toBe(reply);
  });
});
