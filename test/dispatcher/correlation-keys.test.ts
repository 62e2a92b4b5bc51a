/** Keys for replies come with the topology and change there: both places that ask a filter must ask with today's keys. */
import { expect, test } from '@jest/globals';
import { createCipheriv, randomBytes } from 'node:crypto';
import { accepted } from '../fakes/scripted-deliverer.ts';
import { eventOf, idOf, SUBSCRIBER, trigger } from './resources.ts';
import { Stage } from './stage.ts';

const KEY = randomBytes(32);
const OTHER_KEY = randomBytes(32);

const verifying = trigger({
  filter: {
    kind: 'cesql',
    expression: 'KN_VERIFY_CORRELATION_ID(replyid, "r", "n", "request-reply-keys", 0, 1)',
  },
});

/** A reply as to a request of a RequestReply that has the key. */
function replyTo(id: string, key: Buffer) {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const sealed = Buffer.concat([nonce, cipher.update(id), cipher.final(), cipher.getAuthTag()]);
  const base64 = sealed.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
  return eventOf(id, { attributes: { replyid: `${id}:${base64}:0` } });
}

const keys = (...all: readonly Buffer[]) => ({
  correlationKeys: Object.fromEntries(
    all.map((key, index) => [`n.r.key-${index}`, key.toString('base64')]),
  ),
});

const callsOf = (stage: Stage) => stage.deliverer.calls.map(({ event }) => idOf(event));

test('a reply reaches the Trigger whose keys of the topology verify it', async () => {
  const stage = new Stage({ egresses: [verifying], ...keys(KEY) });
  await stage.produce('orders', replyTo('e1', KEY), replyTo('e2', OTHER_KEY), eventOf('e3'));
  expect(callsOf(stage)).toEqual(['e1']);
});

test('with a new key new replies are verified, though the Trigger is the same', async () => {
  const stage = new Stage({ egresses: [verifying], ...keys(KEY) });
  await stage.produce('orders', replyTo('e1', KEY));
  stage.apply(keys(KEY, OTHER_KEY));
  await stage.produce('orders', replyTo('e2', OTHER_KEY), replyTo('e3', KEY));
  expect(callsOf(stage)).toEqual(['e1', 'e2', 'e3']);
});

test('what waits when its key is taken away is filtered, though the Trigger is the same', async () => {
  const stage = new Stage({ egresses: [verifying], slotsMax: 1, ...keys(KEY, OTHER_KEY) });
  stage.deliverer.script(SUBSCRIBER, 'hang');
  await stage.produce('orders', replyTo('e1', KEY), replyTo('e2', OTHER_KEY), replyTo('e3', KEY));
  stage.apply(keys(KEY));
  stage.deliverer.answer(accepted);
  await stage.pass(0);
  stage.deliverer.answer(accepted);
  await stage.pass(0);
  expect(callsOf(stage)).toEqual(['e1', 'e3']);
  expect(stage.trail()).toContain('end filtered');
});
