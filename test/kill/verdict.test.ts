/** The judge of the kill test has to find what is wrong: each case is a bug that it would see. */
import { describe, expect, test } from '@jest/globals';
import { KINDS, promisesOf, resultOf, type Kind } from './scenery.ts';
import { brokenPromises, duplicates, outOfOrder } from './verdict.ts';

/** Everything at its place, but for these places. */
function evidence(kind: Kind, missing: readonly string[], parked: Record<string, number> = {}) {
  const event = { id: `${kind}-1`, kind };
  const paths = new Map<string, Map<string, number>>();
  for (const { anyOf } of promisesOf(event)) {
    const [first] = anyOf;
    if (first === undefined || missing.includes(`${first.path} ${first.id}`)) continue;
    const ofPath = paths.get(first.path) ?? new Map<string, number>();
    paths.set(first.path, ofPath.set(first.id, 1));
  }
  return {
    acknowledged: [event],
    taken: (path: string) => paths.get(path) ?? new Map<string, number>(),
    parked: (egress: string) => parked[egress] ?? 0,
  };
}

describe('a promise', () => {
  test.each(KINDS)('is kept if an event of kind %s is everywhere', (kind) => {
    expect(brokenPromises(evidence(kind, []))).toEqual([]);
  });

  test.each(
    KINDS.flatMap((kind) =>
      promisesOf({ id: `${kind}-1`, kind }).map(({ anyOf }) => ({
        kind,
        place: `${anyOf[0]?.path ?? ''} ${anyOf[0]?.id ?? ''}`,
      })),
    ),
  )('is broken if an event of kind $kind is missing at $place', ({ kind, place }) => {
    expect(brokenPromises(evidence(kind, [place]))).toMatchObject([{ id: `${kind}-1` }]);
  });

  test('is kept by a parked event, but only by one of that Trigger, and only once', () => {
    const missing = ['/parked parked-1'];
    expect(brokenPromises(evidence('parked', missing, { 'trigger:parked.kill': 1 }))).toEqual([]);
    expect(brokenPromises(evidence('parked', missing, { 'trigger:late.kill': 9 }))).toHaveLength(1);
    const once = evidence('parked', missing, { 'trigger:parked.kill': 1 });
    const twice = { ...once, acknowledged: [...once.acknowledged, ...once.acknowledged] };
    expect(brokenPromises(twice)).toHaveLength(1);
  });

  test('about the result of a chain is kept by the dead letter of a step', () => {
    const id = resultOf('chain-1');
    const given = evidence('chain', [`/result ${id}`, `/all ${id}`]);
    const dead = new Map([['chain-1', 1]]);
    const taken = (path: string) => (path === '/dead/chain' ? dead : given.taken(path));
    expect(brokenPromises(given)).toHaveLength(2);
    expect(brokenPromises({ ...given, taken })).toEqual([]);
  });
});

test('an event that comes after a later one of its key is out of order, a repeated one is not', () => {
  const taken = new Map(
    ['0-0', '1-0', '0-2', '1-1', '0-1', '0-3'].map((id) => [`ordered-${id}`, 2]),
  );
  expect(outOfOrder(taken)).toEqual(['ordered-0-1']);
  expect(duplicates(taken)).toBe(6);
});
