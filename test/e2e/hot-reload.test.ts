/** Resources that change while the program runs: what starts, what stops, and what goes on whatever is wrong. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Subscriber } from './subscriber.ts';

const stage = openStage();
let program: Program;
let subscriber: Subscriber;

/** Keeps what waits for a deleted Trigger long enough to be seen and short enough to be waited for. */
const GONE_AFTER = ['--gone-after', 'PT1.5S'];

function one(
  name: string,
  type: string,
  annotations: Readonly<Record<string, string>> = {},
): string {
  const filter = { type };
  return yamlOf(trigger(name, { filter, subscriber: `${subscriber.url}/${name}`, annotations }));
}

beforeAll(async () => {
  subscriber = await stage.subscriber();
  program = stage.program(yamlOf(broker('main')), { flags: GONE_AFTER });
  program.write('always.yaml', one('always', 'always'));
  await program.start();
});

afterAll(() => stage.close());

async function sendOne(id: string, type: string): Promise<void> {
  const { status } = await send(`${program.url}/default/main`, { id, type });
  expect(status).toBe(202);
}

async function found(path: string, id: string): Promise<void> {
  await eventually(`${id} at ${path}`, () => subscriber.at(path).some((each) => each.id === id));
}

function ids(path: string): string[] {
  return subscriber.at(path).map(({ id }) => id);
}

/** The Trigger that is never touched still works. */
async function expectUndisturbed(id: string): Promise<void> {
  await sendOne(id, 'always');
  await found('/always', id);
}

async function lag(name: string): Promise<number> {
  const egress = `trigger:${name}.default`;
  return program.metric('knear_lag', { egress, state: 'ready' });
}

describe('a Trigger', () => {
  test('that is added gets events from then on', async () => {
    await sendOne('before', 'added');
    await program.change(() => {
      program.write('added.yaml', one('added', 'added'));
    });
    await sendOne('after', 'added');
    await found('/added', 'after');
    await program.idle();
    expect(ids('/added')).toEqual(['after']);
    await expectUndisturbed('u-1');
  });

  test('whose filter is edited gets what the new one wants', async () => {
    await program.change(() => {
      program.write('added.yaml', one('added', 'edited'));
    });
    await sendOne('old', 'added');
    await sendOne('new', 'edited');
    await found('/added', 'new');
    await program.idle();
    expect(ids('/added')).toEqual(['after', 'new']);
  });

  test('that is deleted gets nothing any more', async () => {
    await program.change(() => {
      program.remove('added.yaml');
    });
    await eventually('its end', async () =>
      (await program.statuses()).every(({ resourceId }) => resourceId !== 'Trigger/default/added'),
    );
    await sendOne('late', 'edited');
    await expectUndisturbed('u-2');
    await program.idle();
    expect(ids('/added')).not.toContain('late');
  });
});

describe('a Trigger that is paused', () => {
  const paused = { 'knear.dev/paused': 'true' };

  test('keeps its events, and gets them in order when it goes on', async () => {
    await program.change(() => {
      program.write('pausing.yaml', one('pausing', 'pausing', paused));
    });
    const sent = Array.from({ length: 20 }, (_, index) => `p-${String(index)}`);
    for (const id of sent) await sendOne(id, 'pausing');
    await expectUndisturbed('u-3');
    expect(await lag('pausing')).toBe(sent.length);
    expect(ids('/pausing')).toEqual([]);

    program.write('pausing.yaml', one('pausing', 'pausing'));
    await found('/pausing', 'p-19');
    await program.idle();
    expect(ids('/pausing').sort()).toEqual([...sent].sort());
  });

  test('stops while it runs', async () => {
    await program.change(() => {
      program.write('pausing.yaml', one('pausing', 'pausing', paused));
    });
    await sendOne('held', 'pausing');
    await expectUndisturbed('u-4');
    expect(await lag('pausing')).toBe(1);
    expect(ids('/pausing')).not.toContain('held');
  });

  test('keeps them over a moment in which its file is away', async () => {
    const before = await program.metric('knear_topology_revision');
    program.remove('pausing.yaml');
    program.write('renamed.yaml', one('pausing', 'pausing', paused));
    await eventually(
      'the change',
      async () => (await program.metric('knear_topology_revision')) > before,
    );
    expect(await lag('pausing')).toBe(1);
  });

  test('goes on where it was when it is deleted and soon created again', async () => {
    await program.change(() => {
      program.remove('renamed.yaml');
    });
    await eventually('its end', async () =>
      (await program.statuses()).every(
        ({ resourceId }) => resourceId !== 'Trigger/default/pausing',
      ),
    );
    program.write('again.yaml', one('pausing', 'pausing'));
    await found('/pausing', 'held');
  });

  test('loses them when it stays away, and metrics say so', async () => {
    await program.change(() => {
      program.write('again.yaml', one('pausing', 'pausing', paused));
    });
    await sendOne('lost', 'pausing');
    expect(await lag('pausing')).toBe(1);
    program.remove('again.yaml');
    await eventually('a line of the log', () =>
      program.output.includes('"reason":"egress-deleted"'),
    );
    program.write('again.yaml', one('pausing', 'pausing'));
    await eventually('the Trigger', async () =>
      (await program.statuses()).some(({ resourceId }) => resourceId === 'Trigger/default/pausing'),
    );
    await sendOne('fresh', 'pausing');
    await found('/pausing', 'fresh');
    await program.idle();
    expect(ids('/pausing')).not.toContain('lost');
  });
});

describe('a file', () => {
  test('that cannot be parsed removes nothing', async () => {
    await program.change(() => {
      program.write('broken.yaml', one('broken', 'broken'));
    });
    program.write('broken.yaml', 'apiVersion: eventing.knative.dev/v1\nkind: [Trigger\n');
    await eventually('the problem in the log', () =>
      program.output.includes('KNEAR_MANIFEST_UNPARSABLE: broken.yaml:'),
    );
    await sendOne('still', 'broken');
    await found('/broken', 'still');
    await expectUndisturbed('u-5');
    expect((await program.get('/readyz')).status).toBe(200);
  });

  test('that cannot be parsed is named by /resources for as long as it cannot', async () => {
    const told = await (await program.get('/resources')).text();
    expect(told).toContain('broken.yaml');
  });

  test('that is repaired is followed again', async () => {
    program.write('broken.yaml', one('broken', 'repaired'));
    await eventually('the repaired filter', async () => {
      await sendOne('repaired', 'repaired');
      return ids('/broken').includes('repaired');
    });
    await eventually(
      'no problem any more',
      async () => !(await (await program.get('/resources')).text()).includes('broken.yaml'),
    );
  });

  test('with a field that does not exist leaves the last valid version running, with file, line and a hint', async () => {
    const valid = one('broken', 'repaired');
    program.write('broken.yaml', valid.replace('subscriber:', 'subscribr:'));
    const status = await eventually('the hint', async () =>
      (await program.statuses()).find(
        ({ resourceId, infos }) =>
          resourceId === 'Trigger/default/broken' && infos.join().includes('subscribr'),
      ),
    );
    expect(status.infos.join()).toMatch(/broken\.yaml:\d+/);
    expect(status.infos.join()).toContain('subscriber');
    expect(status.isReady).toBe(true);
    await sendOne('valid', 'repaired');
    await found('/broken', 'valid');
  });

  test('with a Trigger for no Broker makes that one not ready, and no other', async () => {
    program.write(
      'lonely.yaml',
      yamlOf(trigger('lonely', { broker: 'nobody', subscriber: subscriber.url })),
    );
    const status = await eventually('its status', async () =>
      (await program.statuses()).find(({ resourceId }) => resourceId === 'Trigger/default/lonely'),
    );
    expect(status).toMatchObject({ isReady: false, reason: 'BrokerDoesNotExist' });
    await expectUndisturbed('u-6');
  });
});

test('nothing of this was a fault of the program', () => {
  expect(program.complaints).toEqual([]);
});
