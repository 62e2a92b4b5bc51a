/** `knear tail`: the admin server as it is, a topology and happenings made by hand, time that stands still. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Happening } from '../../core/ports/observer.ts';
import { payloadId, type AttributeValue, type PayloadRef } from '../../core/event.ts';
import type { Ingress, Topology } from '../../core/topology.ts';
import { findAddressee } from '../../main/client/addressee.ts';
import { openAdmin, type Admin } from '../../main/admin.ts';
import { followTail, textOf, type FollowOptions } from '../../main/client/follow-tail.ts';
import { openTails, type TailEvent, type TailLine, type Tails } from '../../main/inside/tail.ts';
import { eventually } from '../e2e/eventually.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { FakeClock } from '../fakes/clock.ts';
import { SHOWN } from './shown-payload.ts';

const MAIN = ingress('broker', 'main');
const OTHER = ingress('broker', 'other');
const CHANNEL = ingress('channel', 'main');
const TOPOLOGY: Topology = {
  revision: 1,
  ingresses: new Map([MAIN, OTHER, CHANNEL].map((each) => [each.id, each])),
  egresses: new Map(),
  services: new Map(),
  correlationKeys: new Map(),
};
const LIMITS = { tailsMax: 2, bufferMaxBytes: 64 * 1024 };

let clock: FakeClock;
let tails: Tails;
let admin: Admin;
let stop: AbortController;

beforeEach(async () => {
  clock = new FakeClock(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  tails = openTails({ topology: () => TOPOLOGY, clock, limits: LIMITS });
  stop = new AbortController();
  admin = await openAdmin({
    host: '127.0.0.1',
    port: 0,
    metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
    health: () => ({ reasons: [] }),
    resources: () => [
      resource('Broker', 'main', 'http://door/default/main'),
      resource('Channel', 'main', 'http://door/default/channels/main'),
      resource('KnearChannel', 'steps', 'http://door/default/channels/steps'),
      resource('Broker', 'shut', undefined),
      resource('Trigger', 'audit', 'http://nowhere/'),
    ],
    problems: () => [],
    routes: [tails.route],
  });
});

afterEach(async () => {
  stop.abort();
  await admin.close();
});

function ingress(kind: Ingress['kind'], name: string): Ingress {
  return {
    ...{ id: `${kind}:default/${name}`, kind, namespace: 'default', name },
    ...{ path: `/default/${name}`, hosts: [], isEarly: true },
    ...{ eventMaxBytes: 1_000_000, attributesMaxBytes: 1_000, claims: CLAIMS },
    hops: { isOn: false, redoMaxMs: 1_000 },
  };
}

function resource(kind: string, name: string, url: string | undefined): object {
  const status = { ...(url !== undefined && { address: { url } }) };
  const id = `${kind}/default/${name}`;
  return { kind, resourceId: id, reason: 'NotReady', message: 'no address', object: { status } };
}

interface Given {
  readonly ingress?: Ingress;
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  readonly data?: Uint8Array | PayloadRef | string;
  readonly isMatched?: boolean;
}

function accept({ ingress: to = MAIN, attributes = {}, data, isMatched = true }: Given = {}): void {
  const own = { specversion: '1.0', id: '1', source: '/test', type: 'order.created' };
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  tails.observer.observe({
    kind: 'accepted',
    ingress: to,
    event: {
      attributes: new Map(Object.entries({ ...own, ...attributes })),
      headers: new Map(),
      data: bytes,
    },
    ...{ isMatched, durationMs: 1, sizeBytes: 1, scheme: 'http' },
  });
}

function open(path: string): Promise<Response> {
  return fetch(`${admin.url}/tail/${path}`, { signal: stop.signal });
}

/** Reads a stream on demand, in lines. */
function reader(response: Response) {
  const source = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  async function line(): Promise<string> {
    while (!rest.includes('\n')) {
      const { value, done = true } = (await source?.read()) ?? {};
      if (done) throw new Error('the stream has ended');
      rest += value ?? '';
    }
    const [first = ''] = rest.split('\n', 1);
    rest = rest.slice(first.length + 1);
    return first;
  }
  return {
    line,
    // What main/inside/tail.ts writes.
    next: async () => JSON.parse(await line()) as TailLine,
  };
}

async function opened(path = 'broker/default/main') {
  const lines = reader(await open(path));
  expect(await lines.next()).toMatchObject({ kind: 'opened' });
  return lines;
}

async function eventOf(given: Given): Promise<TailEvent> {
  const lines = await opened();
  accept(given);
  const line = await lines.next();
  if (line.kind !== 'event') throw new Error(`a ${line.kind}`);
  return line;
}

describe('a tail', () => {
  test('says what it follows before anything comes', async () => {
    const response = await open('channel/default/main');
    expect(response.headers.get('content-type')).toMatch(/^application\/x-ndjson/);
    expect(await reader(response).next()).toEqual({
      ...{ kind: 'opened', ingressKind: 'channel', namespace: 'default', name: 'main' },
    });
  });

  test('shows what is accepted at its own address, and nothing else', async () => {
    const lines = await opened();
    accept({ ingress: OTHER, attributes: { id: 'other' } });
    accept({ ingress: CHANNEL, attributes: { id: 'channel' } });
    accept({ attributes: { id: 'mine', count: 3 }, data: '{"a":1}', isMatched: false });
    expect(await lines.next()).toEqual({
      kind: 'event',
      acceptedAt: '2026-01-02T03:04:05.678Z',
      isMatched: false,
      attributes: {
        ...{ specversion: '1.0', id: 'mine', source: '/test', type: 'order.created', count: 3 },
      },
      dataBytes: 7,
      data: '{"a":1}',
    });
  });

  test('R1: an event is not looked at while nobody follows', async () => {
    const happening = (kind: string) =>
      new Proxy({ kind } as Happening, {
        get(target, name) {
          if (name === 'kind') return target.kind;
          throw new Error(`somebody looks at ${String(name)}`);
        },
      });
    expect(() => tails.observer.observe(happening('accepted'))).not.toThrow();
    await opened();
    expect(() => tails.observer.observe(happening('accepted'))).toThrow('somebody looks');
    expect(() => tails.observer.observe(happening('ended'))).not.toThrow();
  });

  test('R2: what a reader cannot take is counted, and told when it can', async () => {
    const lines = await opened();
    const count = 20_000;
    // Far more than sockets buffer; the tail itself holds 64 KiB.
    for (let id = 1; id <= count; id++)
      accept({ attributes: { id: `${id}` }, data: 'x'.repeat(900) });
    let shown = 0;
    let leftOut = 0;
    while (shown + leftOut < count) {
      const line = await lines.next();
      if (line.kind === 'gap') leftOut += line.count;
      else shown += 1;
    }
    expect(shown + leftOut).toBe(count);
    expect(shown * 900).toBeLessThan(8 * 1024 * 1024);
    expect(leftOut).toBeGreaterThan(0);
    // And goes on as before.
    accept({ attributes: { id: 'later' } });
    expect(await lines.next()).toMatchObject({ attributes: { id: 'later' } });
  });

  test('R3: there is room for two, and again when one has left', async () => {
    await opened();
    const leaving = new AbortController();
    const url = `${admin.url}/tail/broker/default/main`;
    const second = await fetch(url, { signal: leaving.signal });
    expect(second.status).toBe(200);
    const third = await open('broker/default/main');
    expect(third.status).toBe(429);
    expect(await third.json()).toMatchObject({ code: 'KNEAR_OVERLOADED' });
    leaving.abort();
    await eventually('room', async () => (await open('broker/default/main')).status === 200);
    // Nobody is left behind: no timer of those who went.
    stop.abort();
    await eventually('nothing left', () => clock.timerCount === 0);
  });

  test('shows now and then that it is there', async () => {
    const lines = await opened();
    clock.advance(20_000);
    expect(await lines.line()).toBe('');
    clock.advance(20_000);
    expect(await lines.line()).toBe('');
  });

  test.each([
    { path: 'broker/default/none', status: 404, code: 'KNEAR_RESOURCE_UNKNOWN' },
    { path: 'trigger/default/main', status: 404, code: 'KNEAR_RESOURCE_UNKNOWN' },
    { path: 'broker/other/main', status: 404, code: 'KNEAR_RESOURCE_UNKNOWN' },
    { path: 'broker/default/main?filter=type%20%3D%3D', status: 400, code: 'KNEAR_USAGE' },
    { path: 'broker/default/main?filter={"prefx":{"type":"a"}}', status: 400, code: 'KNEAR_USAGE' },
    { path: 'broker/default/main?filter=[1', status: 400, code: 'KNEAR_USAGE' },
    { path: 'broker/default/main?filter=a&filter=b', status: 400, code: 'KNEAR_USAGE' },
    { path: 'broker/default/main?tpye=a', status: 400, code: 'KNEAR_USAGE' },
  ])('is refused: $path', async ({ path, status, code }) => {
    const response = await open(path);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ code });
    expect(clock.timerCount).toBe(0);
  });
});

describe('a filter', () => {
  const EVENTS = [
    { id: '1', type: 'order.created', source: '/shop' },
    { id: '2', type: 'order.shipped', source: '/shop' },
    { id: '3', type: 'note.added', source: '/desk' },
  ];

  test.each([
    { query: '', ids: ['1', '2', '3'] },
    { query: 'type=order.created', ids: ['1'] },
    { query: `filter=${encodeURIComponent("type LIKE 'order.%'")}`, ids: ['1', '2'] },
    { query: 'filter={"prefix":{"type":"order."}}', ids: ['1', '2'] },
    { query: 'filter={"suffix":{"source":"desk"}}', ids: ['3'] },
    { query: 'filter={"exact":{"type":"note.added"}}', ids: ['3'] },
    { query: 'filter={"not":{"exact":{"source":"/desk"}}}', ids: ['1', '2'] },
    { query: 'filter={"any":[{"exact":{"id":"1"}},{"exact":{"id":"3"}}]}', ids: ['1', '3'] },
    { query: 'filter=[{"prefix":{"type":"order."}},{"suffix":{"type":"ed"}}]', ids: ['1', '2'] },
    { query: 'type=order.shipped&filter={"prefix":{"source":"/shop"}}', ids: ['2'] },
    { query: 'type=order.shipped&filter={"prefix":{"source":"/desk"}}', ids: [] },
  ])('$query', async ({ query, ids }) => {
    const lines = await opened(`broker/default/main?${query}`);
    const all = await opened();
    for (const attributes of EVENTS) accept({ attributes });
    for (const { id } of EVENTS) expect(await all.next()).toMatchObject({ attributes: { id } });
    for (const id of ids) expect(await lines.next()).toMatchObject({ attributes: { id } });
    // What should not be there would come before the sign of life.
    clock.advance(20_000);
    expect(await lines.line()).toBe('');
  });
});

describe('data', () => {
  test.each([
    { name: 'none', data: undefined, shown: undefined, isCut: undefined },
    { name: 'text', data: 'Käse', shown: 'Käse', isCut: undefined },
    { name: 'bytes', data: Buffer.from([0xff, 0xd8]), shown: undefined, isCut: undefined },
    { name: 'text with zeros', data: 'a\0b', shown: undefined, isCut: undefined },
    { name: '1 KiB', data: 'x'.repeat(1_024), shown: 'x'.repeat(1_024), isCut: undefined },
    { name: 'more', data: 'x'.repeat(1_025), shown: 'x'.repeat(1_024), isCut: true },
    { name: 'cut in an ä', data: `${'x'.repeat(1_023)}ä`, shown: 'x'.repeat(1_023), isCut: true },
    { name: 'cut in a 😀', data: `${'x'.repeat(1_021)}😀`, shown: 'x'.repeat(1_021), isCut: true },
    { name: 'large bytes', data: Buffer.alloc(9_999, 0x80), shown: undefined, isCut: undefined },
  ])('is shown if it is text, and not all of it: $name', async ({ data, shown, isCut }) => {
    const event = await eventOf({ ...(data !== undefined && { data }) });
    expect(event.dataBytes).toBe(data === undefined ? 0 : Buffer.byteLength(data));
    expect({ shown: event.data, isCut: event.isCut }).toEqual({ shown, isCut });
  });
});

describe('for people', () => {
  const EVENT: TailEvent = {
    kind: 'event',
    acceptedAt: '2026-01-02T03:04:05.678Z',
    isMatched: true,
    attributes: { type: 'order.created', source: '/shop', id: 'order-1' },
    dataBytes: 7,
    data: '{"a":1}',
  };

  test('an event is a line, and one for its data', () => {
    expect(textOf(EVENT, false)).toBe(
      '03:04:05.678Z  order.created  /shop  order-1  7 B\n  {"a":1}\n',
    );
  });

  test('one that nobody wants says so, and one of bytes shows their number', () => {
    const { data, ...rest } = EVENT;
    expect(data).toBeDefined();
    expect(textOf({ ...rest, isMatched: false, dataBytes: 3_000_000 }, false)).toBe(
      '03:04:05.678Z  order.created  /shop  order-1  3000 kB  (nobody wants it)\n',
    );
  });

  test('one whose data is claimed says so in place of showing it', async () => {
    const event = await eventOf({ data: SHOWN, isMatched: false });
    expect(event).toMatchObject({ dataBytes: 50_000_000, payload: payloadId(SHOWN) });
    expect(event).not.toHaveProperty('data');
    expect(textOf(event, false)).toBe(
      '03:04:05.678Z  order.created  /test  1  50 MB claimed  (nobody wants it)\n',
    );
  });

  test.each([
    { count: 1, line: '… 1 event not shown\n' },
    { count: 12, line: '… 12 events not shown\n' },
  ])('what is left out is a number: $count', ({ count, line }) => {
    expect(textOf({ kind: 'gap', count }, false)).toBe(line);
  });

  test('colours are there where they are wanted, and none else', () => {
    expect(textOf(EVENT, true)).toContain('\u001b[2m03:04:05.678Z\u001b[0m');
    expect(textOf(EVENT, false)).not.toContain('\u001b');
  });

  test.each([
    { name: 'long', text: 'x'.repeat(500) },
    { name: 'wide', text: '订单'.repeat(200) },
    { name: 'with a mark on each letter', text: 'a\u0301'.repeat(300) },
  ])('a line fits 100 columns: $name', ({ text }) => {
    const attributes = { type: text, source: '/s', id: '1' };
    const event = { ...EVENT, attributes, data: text, isMatched: false };
    for (const line of textOf(event, false).trimEnd().split('\n')) {
      const wide = [...line].filter((each) => /\p{Script=Han}/u.test(each)).length;
      const marks = [...line].filter((each) => /\p{M}/u.test(each)).length;
      expect([...line].length + wide - marks).toBeLessThanOrEqual(100);
      expect([...line].length + wide - marks).toBeGreaterThanOrEqual(98);
      expect(line).toContain('…');
    }
  });

  test.each(['\u001b[2J', '\u0007', '\u202e', '\u009b31m', '\u200b'])(
    'nothing in an event steers the terminal: %j',
    (evil) => {
      const attributes = { type: `a${evil}b`, source: evil, id: evil };
      const text = textOf({ ...EVENT, attributes, data: `${evil}\r\n${evil}` }, false);
      expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      expect(text.trimEnd().split('\n')).toHaveLength(2);
    },
  );
});

describe('following', () => {
  function follow(options: Partial<FollowOptions> = {}) {
    let isOpen = false;
    let printed = '';
    const ended = followTail({
      adminUrl: admin.url,
      addressee: { kind: 'broker', namespace: 'default', name: 'main', url: '' },
      output: 'text',
      hasColour: false,
      print: (text) => {
        printed += text;
      },
      onOpen: () => {
        isOpen = true;
      },
      signal: stop.signal,
      ...options,
    });
    // Whoever does not look at the end leaves it at the end of the test.
    ended.catch(() => undefined);
    return { ended, isOpen: () => isOpen, printed: () => printed };
  }

  test('prints lines for people until it is stopped', async () => {
    const tail = follow({ type: 'a' });
    await eventually('open', tail.isOpen);
    accept({ attributes: { type: 'b' } });
    accept({ attributes: { type: 'a' }, data: 'hello' });
    await eventually('two lines', () => tail.printed().endsWith('hello\n'));
    expect(tail.printed()).toBe('03:04:05.678Z  a  /test  1  5 B\n  hello\n');
    stop.abort();
    await expect(tail.ended).resolves.toBeUndefined();
  });

  test('prints JSON lines as they come', async () => {
    const tail = follow({ output: 'json' });
    await eventually('open', tail.isOpen);
    clock.advance(20_000);
    accept({ data: 'ä' });
    await eventually('a line', () => tail.printed().endsWith('\n'));
    const [line = '', ...more] = tail.printed().trimEnd().split('\n');
    expect(JSON.parse(line)).toMatchObject({ kind: 'event', data: 'ä', dataBytes: 2 });
    expect(more).toEqual([]);
  });

  test('ends with what is wrong', async () => {
    const tail = follow({ filter: 'type ==' });
    await expect(tail.ended).rejects.toMatchObject({
      code: 'KNEAR_USAGE',
      message: expect.stringContaining('character'),
    });
  });

  test('ends when knear ends', async () => {
    const tail = follow();
    await eventually('open', tail.isOpen);
    await admin.close();
    await expect(tail.ended).rejects.toMatchObject({ code: 'KNEAR_ADMIN_UNREACHABLE' });
  });
});

describe('a name on the command line', () => {
  test.each([
    { written: 'main', kind: 'broker', url: 'http://door/default/main' },
    { written: 'default/main', kind: 'broker', url: 'http://door/default/main' },
    { written: 'steps', kind: 'channel', url: 'http://door/default/channels/steps' },
  ])('is a Broker, else a channel: $written', async ({ written, kind, url }) => {
    expect(await findAddressee({ adminUrl: admin.url, written })).toMatchObject({ kind, url });
  });

  test.each([
    { written: 'none', code: 'KNEAR_RESOURCE_UNKNOWN', message: 'default/none' },
    { written: undefined, code: 'KNEAR_RESOURCE_UNKNOWN', message: 'default/default' },
    { written: 'audit', code: 'KNEAR_RESOURCE_UNKNOWN', message: 'default/audit' },
    { written: 'shop/main', code: 'KNEAR_RESOURCE_UNKNOWN', message: 'shop/main' },
    { written: 'shut', code: 'KNEAR_RESOURCE_UNKNOWN', message: 'NotReady: no address' },
    { written: 'a/b/c', code: 'KNEAR_USAGE', message: 'a/b/c' },
    { written: '/main', code: 'KNEAR_USAGE', message: '/main' },
  ])('is refused: $written', async ({ written, code, message }) => {
    await expect(findAddressee({ adminUrl: admin.url, written })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });

  test('is looked for in a namespace', async () => {
    const asked = { adminUrl: admin.url, written: 'main', namespace: 'shop' };
    await expect(findAddressee(asked)).rejects.toMatchObject({
      message: expect.stringContaining('shop/main'),
    });
  });
});
