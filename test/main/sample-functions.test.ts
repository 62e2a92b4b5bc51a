import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openSampleFunctions, type SampleFunctions } from '../../main/sample-functions.ts';

let functions: SampleFunctions;
let printed: string[];

beforeEach(async () => {
  printed = [];
  functions = await openSampleFunctions({ port: 0, print: (line) => printed.push(line) });
});

afterEach(async () => {
  await functions.close();
});

const ORDER = { order: 'A-1', amount: 42 };

function post(path: string, headers: Record<string, string> = {}, body = JSON.stringify(ORDER)) {
  return fetch(functions.url + path, {
    method: 'POST',
    headers: {
      'ce-specversion': '1.0',
      'ce-id': 'order-1',
      'ce-source': '/shop',
      'ce-type': 'order.created',
      'content-type': 'application/json',
      ...headers,
    },
    body,
  });
}

describe('functions that only take', () => {
  test.each(['/orders', '/audit'])('%s prints one line and answers 202', async (path) => {
    const response = await post(path);
    expect(response.status).toBe(202);
    expect(await response.text()).toBe('');
    expect(printed).toEqual([
      expect.stringMatching(
        new RegExp(
          `^\\d\\d:\\d\\d:\\d\\d  ${path.slice(1)} +order.created  order-1  {"order":"A-1","amount":42}$`,
        ),
      ),
    ]);
  });

  test('long data is shortened to one line of a terminal', async () => {
    await post('/orders', {}, JSON.stringify({ text: 'x'.repeat(500) }));
    expect(printed[0]?.length).toBeLessThan(110);
    expect(printed[0]).toMatch(/…$/);
  });

  test('large data is counted as it comes, whatever it is', async () => {
    const response = await fetch(`${functions.url}/audit`, {
      method: 'POST',
      headers: { 'ce-id': 'p-1', 'ce-type': 'order.photo', 'content-type': 'image/png' },
      body: Buffer.alloc(100_000, 0xff),
    });
    expect(response.status).toBe(202);
    const digest = createHash('sha256').update(Buffer.alloc(100_000, 0xff)).digest('hex');
    expect(printed[0]).toMatch(`audit   order.photo    p-1  100,000 bytes, sha256 ${digest}`);
  });

  test('a structured event and one without data are taken as well', async () => {
    const structured = { specversion: '1.0', id: '2', source: '/s', type: 't', data: ORDER };
    const headers = { 'content-type': 'application/cloudevents+json' };
    const response = await fetch(`${functions.url}/orders`, {
      method: 'POST',
      headers,
      body: JSON.stringify(structured),
    });
    expect(response.status).toBe(202);
    expect((await post('/orders', {}, '')).status).toBe(202);
    expect(printed[0]).toContain('"amount":42');
    expect(printed[1]).toContain('no data');
  });
});

describe('functions that answer', () => {
  test.each([
    { path: '/reserve', type: 'order.reserved', id: 'order-1-reserved', news: { reserved: true } },
    { path: '/charge', type: 'order.charged', id: 'order-1-charged', news: { charged: true } },
    {
      path: '/ship',
      type: 'order.shipped',
      id: 'order-1-shipped',
      news: { tracking: 'parcel-order-1' },
    },
  ])('$path answers 200 with $type, the same each time', async ({ path, type, id, news }) => {
    for (const _time of ['first', 'second']) {
      const response = await post(path, { 'ce-subject': 'A-1' });
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'ce-specversion': '1.0',
        'ce-id': id,
        'ce-type': type,
        'ce-source': `/sample${path}`,
        'ce-subject': 'A-1',
        'content-type': expect.stringContaining('application/json'),
      });
      expect(await response.json()).toEqual({ ...ORDER, ...news });
    }
  });

  test('an event without subject is answered without one', async () => {
    expect((await post('/reserve')).headers.has('ce-subject')).toBe(false);
  });

  test.each([
    ['data that is no object', '"just a text"'],
    ['a list', '[1]'],
    ['no data', ''],
    ['broken JSON', '{"order":'],
  ])('%s is refused with 400', async (_name, body) => {
    const response = await post('/charge', {}, body);
    expect(response.status).toBe(400);
  });
});

describe('requests that are no event for a function', () => {
  test('without the attributes of an event: 400', async () => {
    const response = await fetch(`${functions.url}/orders`, { method: 'POST', body: '{}' });
    expect(response.status).toBe(400);
    expect(printed).toEqual([]);
  });

  test.each([
    ['an unknown path', '/nothing', 'POST'],
    ['a name that every object has', '/constructor', 'POST'],
    ['another method', '/orders', 'GET'],
  ])('%s: 404, with what there is', async (_name, path, method) => {
    const response = await fetch(functions.url + path, { method });
    expect(response.status).toBe(404);
    expect(await response.text()).toContain('/reserve');
  });
});

describe('the port', () => {
  test('in use by another program is an error that names it', async () => {
    const port = Number(new URL(functions.url).port);
    await expect(openSampleFunctions({ port, print: () => undefined })).rejects.toMatchObject({
      code: 'KNEAR_PORT_IN_USE',
      message: expect.stringContaining(`127.0.0.1:${String(port)}`),
    });
  });

  test('is free again after close, even with idle connections', async () => {
    await post('/orders');
    await functions.close();
    await expect(post('/orders')).rejects.toThrow();
  });
});
