/** A line of hops that comes back to the egress that it began with: what is left of it is about other events than its record. */
import { expect, test } from '@jest/globals';

import { replied } from '../fakes/scripted-deliverer.ts';
import { broker, eventOf, idOf, trigger } from './resources.ts';
import { Stage } from './stage.ts';

const ON = { isOn: true, redoMaxMs: 1_000 };

test('C1 a Trigger that answers itself goes on after a stop in the middle of its answer', async () => {
  const scene = {
    ingresses: [broker('orders', { hops: ON })],
    egresses: [trigger({ hops: ON })],
  };
  const stage = new Stage(scene);
  const url = 'http://subscriber/in';
  stage.deliverer.script(url, replied(eventOf('second')), 'hang');
  await stage.produce('orders', eventOf('first', { attributes: { knativebrokerttl: 4 } }));
  expect(stage.deliverer.callsTo(url).map(({ event }) => idOf(event))).toEqual(['first', 'second']);
  // The answer to the second one comes while the program stops: it is kept with what it answers.
  const stopped = stage.dispatcher.stop(5_000);
  stage.deliverer.answer(replied(eventOf('third')));
  await stage.pass(0);
  await stopped;
  const closed = stage.log.close();
  await stage.pass(0);
  await closed;
  expect(stage.bugs).toEqual([]);
  const after = stage.crash();
  await after.pass(1_000);
  expect(after.deliverer.callsTo(url).map(({ event }) => idOf(event))).toEqual(['third']);
  await after.pass(1_000);
  expect(after.bugs).toEqual([]);
  expect(after.log.egressIds()).toEqual([]);
});
