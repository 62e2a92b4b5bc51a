/** Load reports between processes on a real server: what is told is heard by the others, and what cannot be read by nobody. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { connect, type NatsConnection } from '@nats-io/transport-node';

import type { LoadReport } from '../../core/ports/load-reports.ts';
import { natsLoadReports } from '../../main/load-reports.ts';
import { eventually } from '../e2e/eventually.ts';
import { openNats, type Nats } from '../servers/nats.ts';

let nats: Nats;
beforeAll(async () => {
  nats = await openNats();
});
afterAll(() => nats.close());

const connections: NatsConnection[] = [];
afterEach(async () => {
  for (const nc of connections.splice(0)) await nc.close();
});

async function open(prefix = 'kn') {
  const nc = await connect({ servers: nats.url });
  connections.push(nc);
  const heard: LoadReport[] = [];
  const reports = natsLoadReports({ nc }, prefix);
  reports.listen((report) => heard.push(report));
  await nc.flush();
  return { nc, reports, heard };
}

const REPORT: LoadReport = {
  instanceId: 'one',
  everyMs: 50,
  places: [[], [{ egressId: 'trigger/a/b', inFlight: 3, capacity: 4, serviceMs: 1.5, backlog: 7 }]],
};

test('a report is heard as it was told, and by nobody of another prefix', async () => {
  const [one, other, stranger] = [await open(), await open(), await open('kn2')];
  one.reports.tell(REPORT);
  await eventually('heard', () => other.heard.length > 0);
  expect(other.heard).toEqual([REPORT]);
  await stranger.nc.flush();
  expect(stranger.heard).toEqual([]);
});

test('what another version tells, or nobody can read, is as if it had not been told', async () => {
  const [one, other] = [await open(), await open()];
  const bad = ['', '{', 'null', '7', '[]', '{}', '{"v":1}', '{"v":1,"instanceId":"a","places":7}'];
  for (const text of bad) one.nc.publish('kn_load', text);
  one.nc.publish('kn_load', JSON.stringify({ v: 2, ...REPORT }));
  one.nc.publish('kn_load', JSON.stringify({ v: 1, ...REPORT, everyMs: 'often' }));
  one.nc.publish('kn_load', JSON.stringify({ v: 1, ...REPORT, places: [7] }));
  one.reports.tell(REPORT);
  await eventually('heard', () => other.heard.length > 0);
  expect(other.heard).toEqual([REPORT]);
});

test('one that is too large for the server, or without a connection, is not told, and harms nobody', async () => {
  const [one, other] = [await open(), await open()];
  const [, [line] = []] = REPORT.places;
  if (!line) throw new Error('there is a line');
  const many = Array.from({ length: 20_000 }, () => line);
  one.reports.tell({ ...REPORT, places: [many] });
  one.reports.tell(REPORT);
  await eventually('heard', () => other.heard.length > 0);
  expect(other.heard).toEqual([REPORT]);
  await one.nc.close();
  one.reports.tell(REPORT);
});
