/** What the admin server tells of parked events and does with them, and how `knear parked` shows it: over a real log. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { GroupedLog } from '../../broker/log/grouped-log.ts';
import { MemoryStore } from '../../broker/log/memory.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Failure } from '../../core/ports/event-log.ts';
import type { Admin } from '../../main/admin.ts';
import { openBareAdmin } from './bare-admin.ts';
import { INTENT_HEADER } from '../../main/intent.ts';
import { openParked, type Parked } from '../../main/inside/parked.ts';
import {
  dropParked,
  listParked,
  replayParked,
  showParked,
} from '../../main/client/parked-client.ts';
import { systemClock } from '../../main/time.ts';
import { WIDE } from '../broker/log-stage.ts';
import { eventOf, topologyOf, trigger } from '../dispatcher/resources.ts';
import { NO_PAYLOADS } from '../fakes/claims.ts';
import { openSubscriber, type Subscriber } from '../e2e/subscriber.ts';
import { SHOWN } from './shown-payload.ts';

const AUDIT = 'Trigger/default/audit';
/** Its Trigger was deleted. */
const GONE = 'Trigger/shop/gone';
const FAILURE: Failure = {
  code: 'KNEAR_REJECTED',
  status: 422,
  dest: 'http://audit/',
  data: Buffer.from('no \u001b[2J thanks'),
};

let log: GroupedLog;
let parked: Parked;
let admin: Admin;

beforeEach(async () => {
  log = GroupedLog.open({
    store: new MemoryStore(),
    match: (ingressId) => ({ egressIds: [ingressId], isEarly: true }),
    clock: systemClock,
    observer: { observe: () => undefined },
    limits: { ...WIDE, parkedMax: 10_000 },
  });
  parked = openParked({
    log,
    payloads: NO_PAYLOADS,
    clock: systemClock,
    logger: pino({ level: 'silent' }),
    topology: () => topologyOf(1, { egresses: [trigger({ id: AUDIT })] }),
  });
  admin = await openBareAdmin(parked.routes);
});

afterEach(async () => {
  await admin.close();
  await parked.close();
  await log.close();
});

/** Parks these events; returns their positions. */
async function park(id: string, ...events: CloudEvent[]): Promise<number[]> {
  await log.append(id, events);
  const settled: Promise<void>[] = [];
  for (let left = events.length; left > 0;) {
    const { signal } = new AbortController();
    const deliveries = await log.pull(id, left, { signal });
    left -= deliveries.length;
    const atMs = Date.UTC(2026, 0, 2, 3, 4, 5);
    for (const one of deliveries) {
      const entry = { kind: 'parked', event: one.event, failure: FAILURE, atMs } as const;
      settled.push(one.settle([entry]) ?? Promise.resolve());
    }
  }
  await Promise.all(settled);
  const all = await log.parked(id, { limit: 10_000 });
  return all.slice(-events.length).map(({ position }) => position);
}

const many = (count: number) =>
  Array.from({ length: count }, (_, index) => eventOf(`e${String(index)}`));
const idsParked = async (id: string) =>
  (await log.parked(id, { limit: 10_000 })).map(({ event }) => event.attributes.get('id'));

const get = async (path: string): Promise<unknown> => (await fetch(admin.url + path)).json();

async function post(path: string, body: unknown): Promise<{ status: number; answer: unknown }> {
  const headers = { [INTENT_HEADER]: 'yes', 'content-type': 'application/json' };
  const init = { method: 'POST', headers, body: JSON.stringify(body) };
  const response = await fetch(admin.url + path, init);
  return { status: response.status, answer: await response.json() };
}

describe('GET /parked', () => {
  test('tells how many each has, the oldest, and whose resource was deleted', async () => {
    expect(await get('/parked')).toEqual({ parked: [] });
    const [first] = await park(AUDIT, ...many(3));
    await park(GONE, eventOf('g'));
    await log.append('Trigger/default/fine', [eventOf('ready')]);
    const atMs = Date.UTC(2026, 0, 2, 3, 4, 5);
    expect(await get('/parked')).toMatchObject({
      parked: [
        { resourceId: AUDIT, count: 3, isServed: true, oldest: { position: first, atMs } },
        { resourceId: GONE, count: 1, isServed: false },
      ],
    });
  });

  test('tells which, page by page, without their data', async () => {
    const positions = await park(AUDIT, ...many(45));
    const seen: unknown[] = [];
    for (let after = 0, isMore = true; isMore;) {
      const page = (await get(`/parked/${AUDIT}?after=${String(after)}&limit=30`)) as {
        entries: { position: number }[];
        last: number;
        isMore: boolean;
      };
      seen.push(...page.entries.map(({ position }) => position));
      expect(page.last).toBe(seen.at(-1));
      ({ last: after, isMore } = page);
    }
    expect(seen).toEqual(positions);
    const { entries } = (await get(`/parked/${AUDIT}?limit=1`)) as { entries: unknown[] };
    expect(entries).toEqual([
      {
        position: positions[0],
        id: 'e0',
        source: expect.any(String),
        type: expect.any(String),
        atMs: Date.UTC(2026, 0, 2, 3, 4, 5),
        failure: { code: 'KNEAR_REJECTED', status: 422, dest: 'http://audit/' },
      },
    ]);
  });

  test('tells one whole: text as text, to the letter, the rest as Base64', async () => {
    const text = '{"big":12345678901234567890}';
    const bytes = { ...eventOf('two'), data: Buffer.from([0, 255]) };
    const [one = 0, two = 0] = await park(AUDIT, eventOf('one', { data: text }), bytes);
    expect(await get(`/parked/${AUDIT}/${String(one)}`)).toMatchObject({
      position: one,
      failure: { code: 'KNEAR_REJECTED', status: 422, data: 'no \u001b[2J thanks' },
      event: { attributes: { id: 'one', specversion: '1.0' }, headers: {}, data: text },
    });
    expect(await get(`/parked/${AUDIT}/${String(two)}`)).toMatchObject({
      event: { attributes: { id: 'two' }, dataBase64: 'AP8=' },
    });
  });

  test.each([
    { what: 'a resource that never was', path: '/parked/Trigger/default/nobody' },
    { what: 'a position where nothing is', path: `/parked/${AUDIT}/77` },
    { what: 'what is no position', path: `/parked/${AUDIT}/first` },
  ])('does not know $what', async ({ path }) => {
    expect(await get(path)).toMatchObject({ status: 404, code: 'KNEAR_RESOURCE_UNKNOWN' });
  });

  test.each(['limit=0', 'limit=1001', 'limit=x', 'limit=', 'after=-1', 'after=1.5', 'before=1'])(
    'refuses %s',
    async (query) => {
      expect(await get(`/parked/${AUDIT}?${query}`)).toMatchObject({ code: 'KNEAR_USAGE' });
    },
  );
});

describe('POST …/replay', () => {
  test('delivers named ones anew, in one go', async () => {
    const [one = 0, , three = 0] = await park(AUDIT, ...many(3));
    const { status, answer } = await post(`/parked/${AUDIT}/replay`, {
      positions: [three, one, 5_000],
    });
    expect(status).toBe(200);
    expect(answer).toEqual({ count: 2, last: 5_000, isMore: false, refused: [] });
    expect(log.lag(AUDIT)).toEqual({ ready: 2, delayed: 0, parked: 1 });
    expect(await idsParked(AUDIT)).toEqual(['e1']);
  });

  test('delivers a page anew and tells how to go on', async () => {
    const positions = await park(AUDIT, ...many(5));
    const first = await post(`/parked/${AUDIT}/replay`, { limit: 3 });
    expect(first.answer).toMatchObject({ count: 3, last: positions[2], isMore: true });
    const next = await post(`/parked/${AUDIT}/replay`, { after: positions[2], limit: 3 });
    expect(next.answer).toMatchObject({ count: 2, last: positions[4], isMore: false });
    const empty = await post(`/parked/${AUDIT}/replay`, { limit: 3 });
    expect(empty.answer).toMatchObject({ count: 0, last: null, isMore: false });
  });

  test('needs a resource that is served: what waits for a deleted one would be gone', async () => {
    await park(GONE, eventOf('g'));
    const { answer } = await post(`/parked/${GONE}/replay`, { limit: 1 });
    expect(answer).toMatchObject({ code: 'KNEAR_RESOURCE_UNKNOWN' });
    expect(await idsParked(GONE)).toEqual(['g']);
  });

  test.each([
    { what: 'nothing', body: {} },
    { what: 'a list', body: [] },
    { what: 'both ways to choose', body: { positions: [1], limit: 1 } },
    {
      what: 'too many',
      body: { positions: Array.from({ length: 1_001 }, (_, index) => index + 1) },
    },
    { what: 'what is no position', body: { positions: ['1'] } },
    { what: 'a field that does not exist', body: { limit: 1, all: true } },
    { what: 'an address that is none', body: { limit: 1, to: 'there' } },
    { what: 'an address without http', body: { limit: 1, to: 'file:///etc/passwd' } },
  ])('refuses $what, and leaves all parked', async ({ body }) => {
    await park(AUDIT, eventOf('one'));
    const { status, answer } = await post(`/parked/${AUDIT}/replay`, body);
    expect(status).toBe(400);
    expect(answer).toMatchObject({ code: 'KNEAR_USAGE' });
    expect(await idsParked(AUDIT)).toEqual(['one']);
  });

  test.each(['replay', 'drop'])('is not taken from a page in a browser: %s', async (verb) => {
    await park(AUDIT, eventOf('one'));
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"limit":1}',
    };
    const response = await fetch(`${admin.url}/parked/${AUDIT}/${verb}`, init);
    expect(response.status).toBe(403);
    expect(await idsParked(AUDIT)).toEqual(['one']);
  });
});

describe('POST …/drop', () => {
  test('drops named ones, or a page', async () => {
    const [one] = await park(AUDIT, ...many(4));
    const named = await post(`/parked/${AUDIT}/drop`, { positions: [one, one] });
    expect(named.answer).toMatchObject({ count: 1 });
    const page = await post(`/parked/${AUDIT}/drop`, { limit: 2 });
    expect(page.answer).toMatchObject({ count: 2, isMore: true });
    expect(await idsParked(AUDIT)).toEqual(['e3']);
  });

  test('knows what is parked for a deleted resource, too, and goes nowhere', async () => {
    await park(GONE, eventOf('g'));
    const elsewhere = await post(`/parked/${GONE}/drop`, { limit: 1, to: 'http://x/' });
    expect(elsewhere.answer).toMatchObject({ code: 'KNEAR_USAGE' });
    expect((await post(`/parked/${GONE}/drop`, { limit: 1 })).answer).toMatchObject({ count: 1 });
    expect(log.egressIds()).toEqual([]);
  });
});

describe('a replay to another address', () => {
  let subscriber: Subscriber;

  beforeEach(async () => {
    subscriber = await openSubscriber();
  });

  afterEach(() => subscriber.close());

  test('sends each once, in order, and only what is taken leaves', async () => {
    const positions = await park(AUDIT, ...many(4));
    subscriber.on('/in', ({ id }) => ({ status: id === 'e2' ? 500 : 200, body: 'thanks' }));
    const to = `${subscriber.url}/in`;
    const { answer } = await post(`/parked/${AUDIT}/replay`, { limit: 10, to });
    const refused = [{ position: positions[2], code: 'KNEAR_REJECTED', status: 500 }];
    const untilMs: unknown = expect.any(Number);
    expect(answer).toEqual({ count: 3, last: positions[3], isMore: false, untilMs, refused });
    expect(subscriber.at('/in').map(({ id }) => id)).toEqual(['e0', 'e1', 'e2', 'e3']);
    expect(subscriber.at('/in')[0]?.headers).toMatchObject({ 'kn-namespace': 'default' });
    expect(await idsParked(AUDIT)).toEqual(['e2']);
    expect(log.lag(AUDIT)).toEqual({ ready: 0, delayed: 0, parked: 1 });
  });

  test('keeps the hop count, which is between Brokers, to itself', async () => {
    await park(GONE, eventOf('one', { attributes: { knativebrokerttl: 7 }, data: 'data' }));
    await post(`/parked/${GONE}/replay`, { limit: 1, to: `${subscriber.url}/in` });
    const [received] = subscriber.at('/in');
    expect(String(received?.body)).toBe('data');
    expect(Object.keys(received?.headers ?? {})).not.toContain('ce-knativebrokerttl');
  });

  test('stops where nobody answers, and leaves the rest as it is', async () => {
    await park(AUDIT, ...many(3));
    await subscriber.close();
    const { answer } = await post(`/parked/${AUDIT}/replay`, { limit: 10, to: subscriber.url });
    expect(answer).toMatchObject({
      count: 0,
      last: null,
      isMore: true,
      stopped: expect.any(String),
    });
    expect(await idsParked(AUDIT)).toHaveLength(3);
    subscriber = await openSubscriber();
  });
});

describe('knear parked', () => {
  const flags = () => ({ output: 'table', adminUrl: admin.url }) as const;
  const audit = () => ({ kind: 'trigger', name: 'audit', ...flags() });

  test('list: how many each has', async () => {
    expect(await listParked(flags())).toBe('0 events are parked.\n');
    await park(AUDIT, ...many(2));
    await park(GONE, eventOf('g'));
    expect((await listParked(flags())).split('\n')).toEqual([
      'NAMESPACE   NAME            PARKED   OLDEST',
      'default     trigger/audit   2        2026-01-02T03:04:05Z',
      'shop        trigger/gone    1        2026-01-02T03:04:05Z   deleted',
      '3 events are parked.',
      '',
    ]);
    expect(await listParked({ ...flags(), namespace: 'shop' })).toContain('1 event is parked.');
    expect(await listParked({ ...flags(), kind: 'sub' })).toBe('0 events are parked.\n');
  });

  test('list: which, and nothing that steers a terminal', async () => {
    const [position] = await park(AUDIT, eventOf('a\u001b[31mb', { type: 't' }));
    const lines = (await listParked(audit())).split('\n');
    expect(lines[0]?.split(/ +/)).toEqual(
      'POSITION ID SOURCE TYPE PARKED REASON ADDRESS'.split(' '),
    );
    expect(lines[1]).toContain(`${String(position)} `);
    expect(lines[1]).toContain('a·[31mb');
    expect(lines[1]).toContain('KNEAR_REJECTED 422   http://audit/');
    expect(lines[2]).toBe('1 event is parked.');
  });

  test('show: attributes, the answer, and the data', async () => {
    const [position = 0] = await park(AUDIT, eventOf('one', { data: '{"a":\n1}\u001b[2J' }));
    const text = await showParked(audit(), position);
    expect(text).toMatch(/^reason +KNEAR_REJECTED 422$/m);
    expect(text).toMatch(/^answer +no ·\[2J thanks$/m);
    expect(text).toMatch(/^id +one$/m);
    expect(text.endsWith('\n{"a":\n1}·[2J\n')).toBe(true);
    const json: unknown = JSON.parse(await showParked({ ...audit(), output: 'json' }, position));
    expect(json).toMatchObject({ position, event: { data: '{"a":\n1}\u001b[2J' } });
  });

  test('show: of data that is claimed its size and name, and how to get it', async () => {
    const [position = 0] = await park(AUDIT, { ...eventOf('one'), data: SHOWN });
    const id = 'default/2026050408/Zm9vYmFyYmF6cXV4MTIzNA';
    const { sizeBytes, sha256 } = SHOWN;
    const text = await showParked(audit(), position);
    expect(text).toMatch(/^id +one$/m);
    expect(text.split('\n').slice(-4)).toEqual([
      '',
      `Data: claimed, 50 MB, sha256 ${sha256}`,
      `To get it: knear payload show ${id} --data FILE`,
      '',
    ]);
    const json: unknown = JSON.parse(await showParked({ ...audit(), output: 'json' }, position));
    expect(json).toMatchObject({ event: { payload: { id, sizeBytes, sha256 } } });
    expect(json).not.toHaveProperty('event.data');
  });

  test('list and replay go through all pages', async () => {
    await park(AUDIT, ...many(2_100));
    const listed: unknown = JSON.parse(await listParked({ ...audit(), output: 'json' }));
    expect(listed).toHaveLength(2_100);
    expect(await replayParked(audit())).toEqual({
      text: 'Replayed: 2100 parked events of Trigger default/audit.\n',
      isDone: true,
    });
    expect(log.lag(AUDIT)).toEqual({ ready: 2_100, delayed: 0, parked: 0 });
  });

  test('replay and drop tell what is not parked any more', async () => {
    const [one = 0, two = 0] = await park(AUDIT, ...many(2));
    const replayed = await replayParked({ ...audit(), positions: [one, one, 900] });
    expect(replayed.isDone).toBe(false);
    expect(replayed.text).toBe(
      'Replayed: 1 parked event of Trigger default/audit.\n' +
        'Not parked, or not any more: 1 of the positions.\n',
    );
    const dropped = await dropParked({ ...audit(), positions: [two], output: 'json' });
    expect(JSON.parse(dropped.text)).toEqual({ count: 1, missing: 0, refused: [] });
  });

  test('replay to another address tells what was not taken, and when nobody is there', async () => {
    const positions = await park(AUDIT, ...many(2));
    const subscriber = await openSubscriber();
    subscriber.on('/', ({ id }) => ({ status: id === 'e0' ? 422 : 202 }));
    const act = { ...audit(), positions: [...positions, 900] };
    const { text, isDone } = await replayParked(act, `${subscriber.url}/`);
    await subscriber.close();
    expect(isDone).toBe(false);
    expect(text.split('\n')).toEqual([
      `Sent to ${subscriber.url}/: 1 parked event of Trigger default/audit.`,
      'Not parked, or not any more: 1 of the positions.',
      'Not taken, and still parked: 1.',
      `  ${String(positions[0])}  KNEAR_REJECTED 422`,
      '',
    ]);
    await expect(replayParked(audit(), `${subscriber.url}/`)).rejects.toMatchObject({
      code: 'KNEAR_UNREACHABLE',
      message: expect.stringContaining('0 were sent before'),
    });
  });

  test.each([
    { given: { kind: 'broker', name: 'main' }, code: 'KNEAR_USAGE' },
    { given: { kind: 'trigger', name: 'nobody' }, code: 'KNEAR_RESOURCE_UNKNOWN' },
    {
      given: { kind: 'trigger', name: 'audit', adminUrl: 'http://127.0.0.1:1' },
      code: 'KNEAR_ADMIN_UNREACHABLE',
    },
  ])('$code for $given.kind $given.name', async ({ given, code }) => {
    await expect(listParked({ ...flags(), ...given })).rejects.toMatchObject({ code });
    await expect(dropParked({ ...flags(), ...given })).rejects.toMatchObject({ code });
  });
});
