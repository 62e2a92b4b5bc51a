/** The permissions that docs/nats.md names for several processes are enough for them. */
import { afterEach, expect, test } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openNats, type Nats } from '../servers/nats.ts';
import { openCluster } from './cluster.ts';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { send } from './producer.ts';
import { openStage } from './stage.ts';

const PREFIX = 'kn';
const PAGE = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'nats.md'), 'utf8');

const stage = openStage();
let nats: Nats | undefined;
afterEach(async () => {
  await stage.close();
  await nats?.close();
});

/** Subjects in quotes between two texts of the page. */
function subjectsBetween(start: string, end: string): string[] {
  const from = PAGE.indexOf(start);
  return PAGE.slice(from, PAGE.indexOf(end, from)).match(/"[^"]+"/g) ?? [];
}

test('with them and no others, events are taken and delivered, and resources become Ready', async () => {
  const publish = [
    ...subjectsBetween('permissions {', 'subscribe: ['),
    ...subjectsBetween('to publish:', 'and to subscribe'),
  ];
  const subscribe = [...subjectsBetween('subscribe: [', ']'), '"kn_load"'];
  expect(publish.length).toBeGreaterThan(20);
  const permissions = `{ publish: [${publish.join(', ')}], subscribe: [${subscribe.join(', ')}] }`;
  const users = `[{ user: knear, password: secret, permissions: ${permissions} }]`;
  nats = await openNats({ config: `accounts { KN { jetstream: enabled, users: ${users} } }` });
  const password = join(stage.folder(), 'password');
  writeFileSync(password, 'secret');
  const subscriber = await stage.subscriber();
  const cluster = await openCluster(
    stage,
    nats,
    yamlOf(broker('main'), trigger('all', { subscriber: subscriber.url })),
    ['--nats-user', 'knear', '--nats-password-file', password, '--nats-prefix', PREFIX],
  );
  const dispatcher = await cluster.add('dispatcher');
  const ingress = await cluster.add('ingress');
  await cluster.ready();
  await send(`${ingress.url}/default/main`, { id: '1', type: 'order' });
  await eventually('it', () => subscriber.received.length === 1);
  for (const { output } of [cluster.controller, ingress, dispatcher]) {
    expect(output).not.toMatch(/Violation/i);
  }
}, 60_000);
