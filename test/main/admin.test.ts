import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { KnearError } from '../../core/errors.ts';
import { openAdmin, type Admin, type Health } from '../../main/admin.ts';
import { INTENT_HEADER } from '../../main/intent.ts';

let admin: Admin;
let health: Health;
let resources: readonly object[];
let metricsText: () => Promise<string>;

beforeEach(async () => {
  health = { reasons: [] };
  resources = [];
  metricsText = () => Promise.resolve('knear_accepted_total 1\n');
  admin = await openAdmin({
    host: '127.0.0.1',
    port: 0,
    metrics: { contentType: 'text/plain; version=0.0.4; charset=utf-8', text: () => metricsText() },
    health: () => health,
    resources: () => resources,
    problems: () => [{ where: 'broken.yaml:1' }],
    routes: [
      { method: 'GET', path: '/things/:name', answer: ({ params, query }) => ({ params, query }) },
      { method: 'POST', path: '/things/:name', answer: ({ body }) => ({ body }) },
      {
        method: 'DELETE',
        path: '/things/:name',
        answer: () => {
          throw new KnearError('KNEAR_RESOURCE_UNKNOWN', 'there is no such thing');
        },
      },
    ],
  });
});

afterEach(async () => {
  await admin.close();
});

const get = (path: string, init?: RequestInit) => fetch(admin.url + path, init);

describe('health', () => {
  test('a process that answers is healthy, ready or not', async () => {
    health = { reasons: [{ code: 'KNEAR_LOG_FULL', detail: 'the log is full' }] };
    expect((await get('/healthz')).status).toBe(200);
  });

  test('without a reason against it, it is ready', async () => {
    const response = await get('/readyz');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: 'ready', reasons: [], warnings: [] });
  });

  test('every reason against it is told with 503, and it is ready again when they are gone', async () => {
    const reasons = [
      { code: 'KNEAR_LOG_FULL', detail: 'the log is full' },
      { detail: 'resources are not served yet' },
    ];
    health = { reasons };
    const response = await get('/readyz');
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: 'not ready', reasons, warnings: [] });
    health = { reasons: [] };
    expect((await get('/readyz')).status).toBe(200);
  });
});

describe('metrics and resources', () => {
  test('metrics come with the content type of their format', async () => {
    const response = await get('/metrics');
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await response.text()).toBe('knear_accepted_total 1\n');
  });

  test('resources are told as they are at the moment', async () => {
    expect(await (await get('/resources')).json()).toEqual({
      resources: [],
      problems: [{ where: 'broken.yaml:1' }],
    });
    resources = [{ resourceId: 'Broker/default/default', isReady: true }];
    expect(await (await get('/resources?x=1')).json()).toMatchObject({ resources });
  });

  test('metrics that cannot be told are a problem document, not a hung scrape', async () => {
    metricsText = () => Promise.reject(new Error('the log is closed'));
    const response = await get('/metrics');
    expect(response.status).toBe(500);
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    expect(await response.json()).toMatchObject({ status: 500, detail: 'the log is closed' });
  });
});

describe('a route of somebody else', () => {
  const meant = { [INTENT_HEADER]: 'yes' };

  test('gets its parameters', async () => {
    expect(await (await get('/things/a%20b?c=d')).json()).toEqual({
      params: { name: 'a b' },
      query: { c: 'd' },
    });
  });

  test('gets the body, as JSON', async () => {
    const headers = { ...meant, 'content-type': 'application/json' };
    const response = await get('/things/a', { method: 'POST', headers, body: '{"x":1}' });
    expect(await response.json()).toEqual({ body: { x: 1 } });
  });

  test('that changes something is not taken from a page in a browser', async () => {
    const response = await get('/things/a', { method: 'DELETE' });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({
      code: 'KNEAR_ADMIN_FORBIDDEN',
      detail: expect.stringContaining('knear-admin'),
    });
  });

  test('tells an error with its code', async () => {
    const response = await get('/things/a', { method: 'DELETE', headers: meant });
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      type: 'about:blank',
      status: 404,
      title: 'No such resource',
      detail: 'there is no such thing',
      code: 'KNEAR_RESOURCE_UNKNOWN',
    });
  });

  test('is named where another method is tried', async () => {
    const response = await get('/things/a', { method: 'PUT' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, POST, DELETE');
  });
});

describe('what is refused', () => {
  test.each([
    ['the root', '/', 'GET'],
    ['an address of the door', '/default/default', 'POST'],
    ['a longer path', '/metrics/more', 'GET'],
    ['a path with a broken escape', '/%zz', 'GET'],
  ])('%s: a problem document that says what there is', async (_name, path, method) => {
    const response = await get(path, { method, ...(method === 'POST' && { body: '{"a":1}' }) });
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      type: 'about:blank',
      status: 404,
      detail: expect.stringContaining('/metrics'),
    });
  });

  test.each([
    ['POST', '{"a":1}', 'application/json'],
    ['PUT', 'x'.repeat(10_000), 'text/plain'],
    ['DELETE', undefined, undefined],
    ['OPTIONS', undefined, undefined],
  ])('%s on something that is read: 405 with Allow', async (method, body, type) => {
    const response = await get('/metrics', {
      method,
      ...(body !== undefined && { body }),
      ...(type !== undefined && { headers: { 'content-type': type } }),
    });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET');
    expect(await response.json()).toMatchObject({ title: 'Method Not Allowed', status: 405 });
  });
});

describe('the port', () => {
  test('in use by another program is an error that says which flag to change', async () => {
    const port = Number(new URL(admin.url).port);
    const second = openAdmin({
      host: '127.0.0.1',
      port,
      metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
      health: () => health,
      resources: () => [],
      problems: () => [],
    });
    await expect(second).rejects.toMatchObject({
      code: 'KNEAR_PORT_IN_USE',
      message: expect.stringContaining('--admin-port'),
    });
  });

  test('close does not wait for idle connections, and may be repeated', async () => {
    await (await get('/healthz')).text();
    await admin.close();
    await admin.close();
    await expect(get('/healthz')).rejects.toThrow();
  });
});
