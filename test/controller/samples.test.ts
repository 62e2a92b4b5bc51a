/** The quickstart as a newcomer gets it: it must load without a word, and the chain must close. */
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { reconcile } from '../../controller/reconcile.ts';
import { openYamlFolder } from '../../controller/source/yaml.ts';
import type { Snapshot } from '../../core/ports/resource-source.ts';
import type { Egress, Target } from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { FakeClock } from '../fakes/clock.ts';

const FOLDER = fileURLToPath(new URL('../../config/samples/quickstart', import.meta.url));

async function load(): Promise<Snapshot> {
  const source = await openYamlFolder({ folder: FOLDER, clock: new FakeClock() });
  const abort = new AbortController();
  for await (const snapshot of source.watch({ signal: abort.signal })) {
    abort.abort();
    return snapshot;
  }
  throw new Error('no snapshot');
}

const DEFAULTS = {
  eventMaxBytes: 1,
  attributesMaxBytes: 1,
  timeoutMs: 600_000,
  idleMs: 60_000,
  claims: CLAIMS,
  localHop: false,
};

test('everything in the quickstart is valid and ready', async () => {
  const snapshot = await load();
  expect(snapshot.problems).toEqual([]);
  const { statuses } = reconcile(snapshot, { revision: 1, defaults: DEFAULTS });
  expect(statuses.filter(({ isReady, infos }) => !isReady || infos.length > 0)).toEqual([]);
  expect(statuses).toHaveLength(11);
});

test('an order goes through three functions and its result comes back to the Broker', async () => {
  const { topology } = reconcile(await load(), { revision: 1, defaults: DEFAULTS });
  const egresses = [...topology.egresses.values()];
  const path = (target: Target | undefined) => target && new URL(target.url).pathname;
  const next = (target: Target | undefined): Egress | undefined =>
    egresses.find(({ ingressId }) => target?.kind === 'ingress' && target.ingressId === ingressId);

  const called: (string | undefined)[] = [];
  let step = next(topology.egresses.get('Trigger/default/fulfil')?.subscriber);
  while (step?.kind === 'subscription') {
    called.push(path(step.subscriber));
    step = next(step.reply);
  }
  expect(called).toEqual(['/reserve', '/charge', '/ship']);
  expect(step?.ingressId).toBe('Broker/default/default');
  expect(topology.egresses.get('Trigger/default/shipped')).toMatchObject({
    filter: { kind: 'all', filters: [{ kind: 'exact', values: { type: 'order.shipped' } }] },
  });
});

test('every function is called at the port of the sample program on this machine', async () => {
  const { topology } = reconcile(await load(), { revision: 1, defaults: DEFAULTS });
  expect([...topology.services]).toEqual([
    [
      'default/sample-functions',
      { endpoints: [{ address: '127.0.0.1', ports: { 80: 18_080 }, isReady: true }] },
    ],
  ]);
});
