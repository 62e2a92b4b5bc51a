/** A data folder whose payloads belong to the embedded log, given to a knear with its log in NATS. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openNats, type Nats } from '../../servers/nats.ts';
import { EMBEDDED } from '../engine.ts';
import { eventOf, postLarge } from '../large-events.ts';
import { broker, trigger, yamlOf } from '../manifests.ts';
import { payloadFilesOf } from '../payload-files.ts';
import { send } from '../producer.ts';
import { openStage } from '../stage.ts';

const MB = 1024 * 1024;

let server: Nats;
const stage = openStage({ engine: EMBEDDED });

beforeAll(async () => {
  server = await openNats();
});

afterAll(async () => {
  await stage.close();
  await server.close();
});

test('keeps them: nothing is swept, large events are refused and say why, small ones flow (K45)', async () => {
  const { url, at } = await stage.subscriber();
  const paused = { 'knear.dev/paused': 'true' };
  const resources = (annotations: Record<string, string>) =>
    yamlOf(broker('main'), trigger('all', { subscriber: `${url}/all`, annotations }));
  const first = await stage.start(resources(paused));
  const large = eventOf({ name: 'large', sizeBytes: 2 * MB });
  expect((await postLarge(`${first.url}/default/main`, large)).status).toBe(202);
  const files = payloadFilesOf(first);
  expect(files).toHaveLength(1);
  await first.stop();

  const data = first.dataFolder;
  const second = await stage.start(resources({}), { data, flags: ['--nats', server.url] });
  const swept = await second.command('payload', 'sweep', '--force');
  expect(swept).toMatchObject({ code: 1, stderr: expect.stringMatching(/^KNEAR_PAYLOAD_FOREIGN/) });
  const refused = await postLarge(`${second.url}/default/main`, large);
  expect(refused.status).toBe(503);
  expect(JSON.parse(refused.body)).toMatchObject({
    code: 'KNEAR_PAYLOAD_STORE_AWAY',
    detail: expect.stringContaining('is not that of this log'),
  });
  expect((await send(`${second.url}/default/main`, { id: 'small', type: 'note' })).status).toBe(
    202,
  );
  await second.idle();
  expect(at('/all').map(({ id }) => id)).toEqual(['small']);
  expect(payloadFilesOf(second)).toEqual(files);
  await second.stop();

  // Given back, it is as it was.
  const again = await stage.start(resources({}), { data });
  await again.idle();
  expect(at('/all').map(({ id }) => id)).toEqual(['small', 'large']);
});
