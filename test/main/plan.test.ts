/** What the program makes of settings and of one snapshot after the other. */
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { Plan } from '../../main/plan.ts';
import { readSettings } from '../../main/settings.ts';
import type { SettingName } from '../../main/settings-table.ts';
import { broker, documents, snapshotOf, trigger } from '../controller/manifests.ts';
import { FakeClock } from '../fakes/clock.ts';

const CONFIG = 'spec: {config: {apiVersion: v1, kind: ConfigMap, name: settings}}';
const REST = documents(
  broker('default', CONFIG),
  trigger('  broker: default\n  subscriber: {uri: "http://a/"}'),
);

/** A plan, and what it takes up to now. */
async function planWith(flags: Partial<Record<SettingName, string>> = {}) {
  const settings = await readSettings({ flags, cwd: '/current' });
  const plan = new Plan(settings, {
    logger: pino({ level: 'silent' }),
    clock: new FakeClock(),
    recordMaxBytes: 1_048_576,
  });
  return {
    plan,
    /** @param data of the Broker's ConfigMap, in flow style. */
    async follow(data: string) {
      const config = `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {${data}}\n`;
      plan.follow(await snapshotOf(documents(config, REST)));
      return plan.topology.ingresses.get('Broker/default/default');
    },
  };
}

test('settings hold where no resource says otherwise', async () => {
  const { plan, follow } = await planWith({
    eventMax: '8Mi',
    attributesMax: '2Ki',
    claimCheckInlineMax: '1Ki',
    claimCheckReplyMax: '4Mi',
    claimCheckBatchMax: '2Mi',
    claimCheckQuota: '1Gi',
    claimCheckDeliverIdle: 'PT5S',
  });
  const claims = {
    inlineMaxBytes: 1024,
    replyMaxBytes: 4 * 1024 ** 2,
    batchMaxBytes: 2 * 1024 ** 2,
    quotaBytes: 1024 ** 3,
  };
  expect(await follow('')).toMatchObject({
    eventMaxBytes: 8 * 1024 ** 2,
    attributesMaxBytes: 2048,
    claims,
  });
  expect(plan.topology.egresses.get('Trigger/default/t')).toMatchObject({ idleMs: 5000, claims });
});

test('limits that are wrong stay as they were last right, however often the resources change', async () => {
  const { plan, follow } = await planWith();
  expect(await follow('claimCheck.eventMax: 5Mi')).toMatchObject({ eventMaxBytes: 5 * 1024 ** 2 });
  for (const wrong of ['claimCheck.eventMax: 6MB', 'claimCheck.eventMaks: 7Mi']) {
    expect(await follow(wrong)).toMatchObject({ eventMaxBytes: 5 * 1024 ** 2 });
    plan.servedAt(`http://127.0.0.1:${plan.topology.revision}`);
    expect(plan.statuses.map(({ reason }) => reason)).toContain('ConfigInvalid');
  }
  expect(await follow('claimCheck.eventMax: 8Mi')).toMatchObject({ eventMaxBytes: 8 * 1024 ** 2 });
});

test('limits that were never right let no event in', async () => {
  const { plan, follow } = await planWith();
  expect(await follow('claimCheck.eventMax: 6MB')).toBeUndefined();
  expect(plan.topology.egresses.get('Trigger/default/t')).toMatchObject({ isPaused: true });
});
