/**
 * Names on the server, out of ids and types that may hold anything. Method: properties, with a matcher of NATS subjects that is
 * written from its documentation ("Subject-Based Messaging": tokens, `*` for one, `>` for one or more at the end).
 */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { PARTS, partOf, Subjects, tokenOf, typeToken } from '../../broker/log/jetstream/names.ts';
import type { CloudEvent } from '../../core/event.ts';

/** Any UTF-16, half surrogate pairs included, with a taste for what subjects and the escape itself are made of. */
const anyText = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    fc.constantFrom(
      '.',
      '*',
      '>',
      ' ',
      '=',
      ':',
      '~',
      '%',
      '\r\n',
      '\0',
      '=2E',
      '\ud800',
      '\udc00',
    ),
    fc.constantFrom('a', 'B', '-', '_', '0', 'com.example.order'),
  ),
  { maxLength: 60 },
);
const text = anyText.map((parts) => parts.join(''));

/** Whether the subject is matched by the filter. */
function isMatch(filter: string, subject: string): boolean {
  const [wanted, given] = [filter.split('.'), subject.split('.')];
  for (const [index, token] of wanted.entries()) {
    if (token === '>') return given.length > index;
    if (given[index] === undefined || (token !== '*' && token !== given[index])) return false;
  }
  return wanted.length === given.length;
}

describe('the token of a type', () => {
  const long = fc.tuple(text, fc.nat({ max: 40 })).map(([part, times]) => part.repeat(times));

  test('is one legal token of a subject, of 130 bytes at most, whatever the type is', () => {
    fc.assert(
      fc.property(fc.oneof(text, long), (type) => {
        const token = typeToken(type);
        // Printable ASCII without space, and neither a separator nor a wildcard.
        expect(token).toMatch(/^[\x21-\x7e]+$/);
        expect(token).not.toMatch(/[.*>]/);
        expect(Buffer.byteLength(token)).toBeLessThanOrEqual(130);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is that of no other type', () => {
    const tokens = new Map<string, string>();
    fc.assert(
      fc.property(fc.oneof(text, long), (type) => {
        const token = typeToken(type);
        expect(tokens.get(token) ?? type).toBe(type);
        tokens.set(token, type);
      }),
      { numRuns: 5_000 },
    );
  });

  test.each([
    ['', '='],
    ['=', '=3D'],
    ['a.b', 'a:b'],
    ['a:b', 'a=3Ab'],
    ['a=3Ab', 'a=3D3Ab'],
    ['~x', '=7Ex'],
    ['*', '=2A'],
    ['>', '=3E'],
    ['é', '=C3=A9'],
    ['é'.normalize('NFD'), 'e=CC=81'],
  ])('of %j is %j', (type, token) => {
    expect(typeToken(type)).toBe(token);
  });

  test('tells halves of surrogate pairs apart, which have the same UTF-8 form', () => {
    const types = ['\ud800', '\ud801', '\udc00', '\ufffd', 'a\ud800', '\ud800a'];
    expect(new Set(types.map(typeToken)).size).toBe(types.length);
  });
});

describe('subjects', () => {
  const subjects = new Subjects('knear', 'stream');
  const others = new Subjects('knear', 'stream2');
  const event = fc
    .record({
      type: text,
      id: text,
      key: fc.option(text, { nil: undefined }),
      isClaimed: fc.boolean(),
    })
    .map(({ type, id, key, isClaimed }) => eventOf(type, id, { key, isClaimed }));

  test('of events are matched by the filters of their ingress, type and line, and by no others', () => {
    fc.assert(
      fc.property(event, event, text, text, (one, other, ingress, otherIngress) => {
        fc.pre(ingress !== otherIngress);
        const subject = subjects.event(ingress, one);
        const type = String(one.attributes.get('type'));
        const otherType = String(other.attributes.get('type'));
        const part = partOf(one);
        for (const types of [{}, { type }]) {
          expect(isMatch(subjects.events(ingress, types), subject)).toBe(true);
          expect(isMatch(subjects.events(ingress, { ...types, part }), subject)).toBe(true);
          const otherPart = (part + 1) % PARTS;
          expect(isMatch(subjects.events(ingress, { ...types, part: otherPart }), subject)).toBe(
            false,
          );
          expect(isMatch(subjects.events(otherIngress, types), subject)).toBe(false);
          expect(isMatch(others.events(ingress, types), subject)).toBe(false);
        }
        const ofOther = subjects.events(ingress, { type: otherType });
        expect(isMatch(ofOther, subject)).toBe(type === otherType);
        expect(Subjects.ingress(subject)).toBe(tokenOf(ingress));
        expect(isMatch(subjects.all, subject)).toBe(true);
        expect(isMatch(others.all, subject)).toBe(false);
        for (const held of subjects.held) expect(isMatch(held, subject)).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  test('of Work, timers and parked entries are those of their egress and kind alone', () => {
    const id = fc.stringMatching(/^[0-9]{1,6}(-[0-9])?$/);
    fc.assert(
      fc.property(event, text, text, id, (each, one, other, number) => {
        fc.pre(one !== other);
        const [egress, otherEgress] = [tokenOf(one), tokenOf(other)];
        const kinds = [
          { subject: subjects.work(egress, each), filterOf: (of: string) => subjects.works(of) },
          {
            subject: subjects.timer(egress, each, number),
            filterOf: (of: string) => subjects.timers(of),
          },
          {
            subject: subjects.parked(egress, each, number),
            filterOf: (of: string) => subjects.parkedOf(of),
          },
          { subject: subjects.expired(egress), filterOf: (of: string) => subjects.expired(of) },
        ];
        for (const { subject } of kinds) {
          const matching = kinds.filter(({ filterOf }) => isMatch(filterOf(egress), subject));
          expect(matching.map((kind) => kind.subject)).toEqual([subject]);
          expect(kinds.some(({ filterOf }) => isMatch(filterOf(otherEgress), subject))).toBe(false);
          expect(isMatch(subjects.events(one, {}), subject)).toBe(false);
          expect(isMatch(subjects.all, subject)).toBe(true);
        }
        const isHeld = kinds.map(({ subject }) =>
          subjects.held.some((held) => isMatch(held, subject)),
        );
        expect(isHeld).toEqual([false, true, true, false]);
        const read = kinds.map(({ subject }) => Subjects.held(subject));
        expect(read).toEqual([undefined, { kind: 't', egress }, { kind: 'p', egress }, undefined]);
      }),
      { numRuns: 500 },
    );
  });

  test('fit into the line that a server reads, 4,096 bytes', () => {
    const longest = subjects.event('x'.repeat(9_999), eventOf('t.'.repeat(9_999), 'id', {}));
    expect(longest.length).toBeLessThan(300);
  });
});

test('keys are spread over the lines evenly enough, and each is always in the same', () => {
  const counts = Array.from({ length: PARTS }, () => 0);
  for (let index = 0; index < 16_000; index += 1) {
    const part = partOf(eventOf('t', `id-${index}`, { key: `customer-${index}` }));
    expect(part).toBe(partOf(eventOf('other', 'another', { key: `customer-${index}` })));
    counts[part] = (counts[part] ?? 0) + 1;
  }
  // 1,000 each, if it were perfect.
  expect(Math.min(...counts)).toBeGreaterThan(800);
  expect(Math.max(...counts)).toBeLessThan(1_200);
});

function eventOf(
  type: string,
  id: string,
  { key, isClaimed = false }: { key?: string | undefined; isClaimed?: boolean },
): CloudEvent {
  const claim = {
    v: 1 as const,
    store: 'files',
    tenant: 'shop',
    key: '2026010100/x',
    sizeBytes: 1,
    sha256: 'x',
    createdMs: 1,
  };
  return {
    attributes: new Map([
      ['type', type],
      ['id', id],
      ...(key === undefined ? [] : [['partitionkey', key] as const]),
    ]),
    headers: new Map(),
    data: isClaimed ? claim : undefined,
  };
}
