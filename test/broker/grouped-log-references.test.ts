/**
 * L9: rows own references. Whatever a record goes through, after each commit every reference has its row and every row its
 * record, and when all is over nothing is left. `grouped-log-model.test.ts` does the same at random; here are the ways
 * that a record can go, one by one, each on disk, while it is being written, and in memory.
 */
import { describe, expect, test } from '@jest/globals';

import type { CloudEvent } from '../../core/event.ts';
import type { Delivery, Output } from '../../core/ports/event-log.ts';
import {
  eventOutput,
  eventTo,
  INGRESS,
  openStage,
  parkedOutput,
  reopen,
  workOutput,
} from './log-stage.ts';
import type { Stage } from './log-stage.ts';
import { faultsOf, fillOf, rowsOf } from './log-tables.ts';

type Outputs = (delivery: Delivery) => Output[];

const origin = ({ origin: asked }: Delivery): CloudEvent => {
  if (!asked) throw new Error('a reply has an origin');
  return asked;
};
const answer = () => eventTo('', { id: 'answer' });

/** What egress `a` does with what it is offered, settle after settle; then it is settled for good. */
const WAYS: { name: string; settles: Outputs[] }[] = [
  { name: 'nothing', settles: [] },
  { name: 'Work', settles: [({ event }) => [workOutput(event)]] },
  {
    name: 'Work upon Work',
    settles: [
      ({ event }) => [workOutput(event)],
      ({ event }) => [workOutput(event, { attempt: 2 })],
    ],
  },
  { name: 'Work about another event', settles: [() => [workOutput(answer())]] },
  {
    name: 'a reply',
    settles: [({ event }) => [workOutput(answer(), { phase: 'reply', origin: event })]],
  },
  {
    name: 'a reply that fails once',
    settles: [
      ({ event }) => [workOutput(answer(), { phase: 'reply', origin: event })],
      (delivery) => [workOutput(delivery.event, { phase: 'reply', origin: origin(delivery) })],
    ],
  },
  {
    name: 'another reply to the same event',
    settles: [
      ({ event }) => [workOutput(answer(), { phase: 'reply', origin: event })],
      (delivery) => [workOutput(answer(), { phase: 'reply', origin: origin(delivery) })],
    ],
  },
  {
    name: 'a reply whose origin becomes a dead letter',
    settles: [
      ({ event }) => [workOutput(answer(), { phase: 'reply', origin: event })],
      (delivery) => [workOutput(origin(delivery), { phase: 'dead-letter' })],
    ],
  },
  { name: 'events', settles: [() => [eventOutput(eventTo('b')), eventOutput(eventTo('b c'))]] },
  { name: 'events that nobody wants', settles: [() => [eventOutput(eventTo(''))]] },
  {
    name: 'an event and Work',
    settles: [({ event }) => [eventOutput(eventTo('b')), workOutput(event)]],
  },
];

const PARKINGS: { name: string; settles: Outputs[] }[] = [
  { name: 'its own event', settles: [({ event }) => [parkedOutput(event)]] },
  { name: 'another event', settles: [() => [parkedOutput(answer())]] },
  {
    name: 'after Work',
    settles: [({ event }) => [workOutput(event)], ({ event }) => [parkedOutput(event)]],
  },
  {
    name: 'the origin of a reply',
    settles: [
      ({ event }) => [workOutput(answer(), { phase: 'reply', origin: event })],
      (delivery) => [parkedOutput(origin(delivery))],
    ],
  },
];

/** How far the record is when the first settle comes. */
const PLACES = [
  { where: 'on disk', settleDown: (stage: Stage) => stage.flush() },
  { where: 'being written', settleDown: (stage: Stage) => stage.advance(3) },
  {
    where: 'in memory',
    prepare: (stage: Stage) => stage.occupy(),
    settleDown: (stage: Stage) => stage.calm(),
  },
];

const everywhere = <Way extends object>(ways: Way[]) =>
  PLACES.flatMap((place) => ways.map((way) => ({ ...place, ...way })));

describe.each(['a', 'a d'])('L9: an event for %s', (to) => {
  test.each(everywhere(WAYS))(
    '$where, with $name, leaves nothing when all is settled',
    async (way) => {
      const stage = await play(to, way);
      await settleAll(stage);
      expect(fillOf(stage.store)).toEqual({});
      expect(stage.log.egressIds()).toEqual([]);
    },
  );

  test.each(everywhere(WAYS))(
    '$where, with $name, leaves nothing after a crash and the end',
    async (way) => {
      const crashed = await play(to, way);
      const stage = reopen(crashed);
      expect(faultsOf(stage.store)).toEqual([]);
      await settleAll(stage);
      expect(fillOf(stage.store)).toEqual({});
    },
  );

  test.each(everywhere([...WAYS, ...PARKINGS]))(
    '$where, with $name, leaves nothing when its egresses are dropped',
    async (way) => {
      const stage = await play(to, way, { isFlushed: false });
      const dropped = Promise.all(['a', 'b', 'c', 'd', 'occupier'].map((id) => stage.log.drop(id)));
      await stage.flushAll();
      await dropped;
      expect(fillOf(stage.store)).toEqual({});
      expect(faultsOf(stage.store)).toEqual([]);
    },
  );

  test.each(everywhere(PARKINGS))(
    '$where, parked, with $name, keeps that record alone',
    async (way) => {
      const stage = await play(to, way);
      await settleAll(stage);
      expect(fillOf(stage.store)).toEqual({ event: 1, parked: 1 });
      expect(await stage.log.parked('a', { limit: 10 })).toHaveLength(1);
    },
  );
});

describe('L9: late settles', () => {
  test('a second settle does not free a record that another egress needs', async () => {
    const stage = openStage();
    void stage.log.append(INGRESS, [eventTo('a b')]);
    await stage.flush();
    const first = await stage.pullOne('a');
    await stage.advance(17_000);
    const second = await stage.pullOne('a');
    await second.settle([]);
    await stage.flushAll();
    await first.settle([]);
    await second.settle([]);
    await stage.flushAll();
    expect(fillOf(stage.store)).toEqual({ event: 1, ready: 1 });
    expect(await stage.pull('b')).toHaveLength(1);
  });

  test('references of a fan-out fall one by one, in one commit or in many', async () => {
    const stage = openStage();
    void stage.log.append(INGRESS, [eventTo('a b c d e')]);
    await stage.flush();
    expect(rowsOf(stage.store, 'refs').map(({ value }) => value.readUInt32BE())).toEqual([5]);
    for (const egressId of ['a', 'b']) await (await stage.pullOne(egressId)).settle([]);
    await stage.flushAll();
    expect(rowsOf(stage.store, 'refs').map(({ value }) => value.readUInt32BE())).toEqual([3]);
    for (const egressId of ['c', 'd']) await (await stage.pullOne(egressId)).settle([]);
    await stage.flushAll();
    expect(fillOf(stage.store)).toEqual({ event: 1, ready: 1 });
    await (await stage.pullOne('e')).settle([]);
    await stage.flushAll();
    expect(fillOf(stage.store)).toEqual({});
  });
});

interface Way {
  readonly prepare?: (stage: Stage) => Promise<void>;
  readonly settleDown: (stage: Stage) => Promise<void>;
  readonly settles: readonly Outputs[];
}

/** Appends one event and lets egress `a` settle its way; the tables are checked after every commit. */
async function play(to: string, way: Way, { isFlushed = true } = {}): Promise<Stage> {
  const stage = openStage();
  await way.prepare?.(stage);
  stage.log.append(INGRESS, [eventTo(to)]).catch(() => undefined);
  await way.settleDown(stage);
  for (const [index, outputs] of way.settles.entries()) {
    if (index > 0) await checkedFlush(stage);
    const delivery = await stage.pullOne('a');
    void delivery.settle(outputs(delivery));
  }
  if (isFlushed) await checkedFlush(stage);
  return stage;
}

async function checkedFlush(stage: Stage): Promise<void> {
  await stage.advance(3);
  while (stage.store.pending) {
    stage.store.pass();
    expect(faultsOf(stage.store)).toEqual([]);
    await stage.advance(3);
  }
}

async function settleAll(stage: Stage): Promise<void> {
  await checkedFlush(stage);
  for (const egressId of ['a', 'b', 'c', 'd', 'occupier']) {
    for (const delivery of await stage.pull(egressId, 10)) await delivery.settle([]);
  }
  await stage.advance(300);
  await checkedFlush(stage);
}
