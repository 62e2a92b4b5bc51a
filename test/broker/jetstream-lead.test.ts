/** N21: the owner of a log that others may follow, once it leads no more. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { jetstream, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';

import { JetStreamLog } from '../../broker/log/jetstream/jetstream-log.ts';
import type { Interest } from '../../core/ports/event-log.ts';
import { systemClock } from '../../main/time.ts';
import { openNats, type Nats } from '../servers/nats.ts';

let nats: Nats;
let nc: NatsConnection;
let jsm: JetStreamManager;
let log: JetStreamLog;
let isLeading: boolean;

beforeEach(async () => {
  isLeading = true;
  nats = await openNats();
  nc = await connect({ servers: nats.url });
  jsm = await jetstreamManager(nc);
  log = await JetStreamLog.open({
    nc,
    jsm,
    js: jetstream(nc),
    match: () => ({ egressIds: [], isEarly: false }),
    wants: () => true,
    clock: systemClock,
    observer: { observe: () => undefined },
    durability: 'process',
    limits: { streamMaxBytes: 1 << 20, parkedMax: 10, parkedBytesMax: 1 << 20, parkedAgeMs: 1e6 },
    prefix: 'lead',
    sharing: 'owner',
    mayChange: () => isLeading,
  });
});

afterEach(async () => {
  await log.close();
  await nc.close();
  await nats.close();
});

const interest = (egressId: string): Interest => ({
  egressId,
  isOrdered: false,
  sources: [{ ingressId: 'in' }],
});

async function durables(): Promise<string[]> {
  const names: string[] = [];
  for await (const stream of jsm.streams.list('lead.*.>')) {
    for await (const { name } of jsm.consumers.list(stream.config.name)) names.push(name);
  }
  return names.sort();
}

test('N21 an owner that leads no more removes nothing, and makes nothing', async () => {
  await log.prepare([interest('one')]);
  const before = await durables();
  isLeading = false;
  await log.prepare([]);
  await expect(log.drop('one')).rejects.toMatchObject({ code: 'KNEAR_LEASE_GONE' });
  await expect(log.prepare([interest('one'), interest('two')])).rejects.toMatchObject({
    code: 'KNEAR_LEASE_GONE',
  });
  expect(await durables()).toEqual(before);
  isLeading = true;
  await log.prepare([]);
  await log.drop('one');
  expect((await durables()).length).toBe(before.length - 1);
});
