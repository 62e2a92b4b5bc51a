/** Admission in place decides as admission of a copy does, whatever comes; what it spares is the copy. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AttributeValue, CloudEvent } from '../../core/event.ts';
import { copyOf, withAttributes } from '../../core/event.ts';
import { admit, admitFresh, arrivalText } from '../../core/rules/admit.ts';
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
    eventMaxBytes: 10,
    attributesMaxBytes: 150,
    isEarly: true,
    claims: CLAIMS,
    hops: { isOn: false, redoMaxMs: 1_000 },
    ...changes,
  };
}

function event(attributes: Record<string, AttributeValue> = {}, data?: Uint8Array): CloudEvent {
  const required = { specversion: '1.0', id: '1', source: '/shop', type: 'order.created' };
  return {
    attributes: new Map<string, AttributeValue>(Object.entries({ ...required, ...attributes })),
    headers: new Map([['traceparent', '00-a']]),
    data,
  };
}

describe('admission in place', () => {
  const attributes = fc.record(
    {
      knativebrokerttl: fc.oneof(fc.integer({ min: -2, max: 300 }), fc.constantFrom('1', '7', 'x')),
      knativearrivaltime: fc.constant('1999-01-01T00:00:00Z'),
      tenant: fc.string({ maxLength: 60 }),
    },
    { requiredKeys: [] },
  );
  const anyEvent = fc
    .tuple(attributes, fc.option(fc.uint8Array({ maxLength: 12 }), { nil: undefined }))
    .map(([changes, data]) => event(changes, data));

  test.each<['broker' | 'channel']>([['broker'], ['channel']])(
    'into a %s is admission, for any event',
    (kind) => {
      const into = ingress({ kind });
      fc.assert(
        fc.property(anyEvent, (given) => {
          const expected = admit(into, given, NOON_MS);
          expect(admitFresh(into, copyOf(given), arrivalText(NOON_MS))).toEqual(expected);
        }),
      );
    },
  );

  test('makes no second event', () => {
    const given = copyOf(event());
    const admission = admitFresh(ingress(), given, arrivalText(NOON_MS));
    expect(admission.kind === 'admitted' && admission.event).toBe(given);
    expect(given.attributes.get('knativearrivaltime')).toBe('2026-11-25T12:00:00.250Z');
  });

  test('leaves a refused event as it was', () => {
    const given = copyOf(event({ knativebrokerttl: 1 }));
    const before = new Map(given.attributes);
    expect(admitFresh(ingress(), given, arrivalText(NOON_MS)).kind).toBe('refused');
    expect(given.attributes).toEqual(before);
  });
});

describe('an event with other attributes', () => {
  const given = event({ tenant: 'a' }, new Uint8Array(3));

  test('shares headers and data, and leaves the first one alone', () => {
    const changed = withAttributes(given, { tenant: undefined, type: 'other', added: 7 });
    expect(Object.fromEntries(changed.attributes)).toEqual({
      ...{ specversion: '1.0', id: '1', source: '/shop', type: 'other', added: 7 },
    });
    expect([changed.headers, changed.data]).toEqual([given.headers, given.data]);
    expect(given.attributes.get('tenant')).toBe('a');
  });

  test('is a copy whose attributes nobody else sees change', () => {
    const copy = copyOf(given);
    copy.attributes.set('tenant', 'b');
    expect(given.attributes.get('tenant')).toBe('a');
    expect([...copy.attributes.keys()]).toEqual([...given.attributes.keys()]);
  });
});
