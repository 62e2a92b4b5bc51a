import { describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { HTTP } from 'cloudevents';
import { banner, type BannerFacts } from '../../main/banner.ts';

type Status = BannerFacts['statuses'][number];

function ready(resourceId: string, address?: string): Status {
  const [kind = ''] = resourceId.split('/');
  return {
    resourceId,
    kind,
    isReady: true,
    reason: 'Ready',
    message: '',
    ...(address !== undefined && { address }),
  };
}

function failed(resourceId: string, message = 'there is no Service x'): Status {
  return { ...ready(resourceId), isReady: false, reason: 'SubscriberUnresolved', message };
}

function show(statuses: readonly Status[], facts: Partial<BannerFacts> = {}): string {
  return banner({
    version: '1.2.3',
    role: 'serve',
    ingressUrl: 'http://127.0.0.1:8080',
    adminUrl: 'http://127.0.0.1:9090',
    resources: '/shop/resources',
    statuses,
    ...facts,
  });
}

const BROKER = ready('Broker/default/default', '/default/default');

describe('the banner', () => {
  test('says where everything is and what became of each resource', () => {
    expect(show([BROKER, ready('Trigger/default/orders'), failed('Trigger/default/broken')])).toBe(
      `knear 1.2.3 takes events at http://127.0.0.1:8080

Send it an event:

  curl -i http://127.0.0.1:8080/default/default \\
    -H 'ce-specversion: 1.0' -H 'ce-id: order-1' -H 'ce-source: /shop' -H 'ce-type: order.created' \\
    -H 'content-type: application/json' -d '{"order":"A-1","amount":42}'

health     http://127.0.0.1:9090/readyz
metrics    http://127.0.0.1:9090/metrics
resources  http://127.0.0.1:9090/resources, from /shop/resources

Served:
  Broker/default/default at /default/default
  Trigger/default/orders

Not ready:
  Trigger/default/broken: SubscriberUnresolved: there is no Service x`,
    );
  });

  test('the command can be pasted into a shell and sends a CloudEvent', async () => {
    const got: unknown[] = [];
    const server = createServer((request, response) => {
      void text(request).then((body) => {
        got.push([request.url, HTTP.toEvent({ headers: request.headers, body })]);
        response.writeHead(202).end();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const lines = show([BROKER], { ingressUrl: `http://127.0.0.1:${String(port)}` }).split('\n');
    const start = lines.findIndex((line) => line.includes('curl'));
    const command = lines.slice(start, start + 3).join('\n');
    const { stdout } = await promisify(execFile)('sh', ['-c', command]);
    server.close();
    server.closeAllConnections();
    expect(stdout).toMatch(/^HTTP\/1.1 202/);
    expect(got).toEqual([
      [
        '/default/default',
        expect.objectContaining({ type: 'order.created', data: { order: 'A-1', amount: 42 } }),
      ],
    ]);
  });

  test.each([
    ['another Broker, where there is no default one', [ready('Broker/a/b', '/a/b')], '/a/b'],
    [
      'the default Broker, wherever it is in the list',
      [ready('Broker/a/b', '/a/b'), BROKER],
      '/default/default',
    ],
    [
      'a Broker that is ready',
      [failed('Broker/default/default'), ready('Broker/a/b', '/a/b')],
      '/a/b',
    ],
  ])('the command names %s', (_name, statuses, address) => {
    expect(show(statuses)).toContain(`curl -i http://127.0.0.1:8080${address} \\`);
  });

  test.each([
    ['no Broker', [ready('KnearChannel/default/step-1', '/default/channels/step-1')]],
    ['only a Broker that is not ready', [failed('Broker/default/default')]],
  ])('with %s there is no command', (_name, statuses) => {
    expect(show(statuses)).not.toContain('curl');
  });

  test('an empty folder is called that', () => {
    expect(show([])).toContain('Nothing is served: the folder has no resources.');
  });

  test('a message of several lines stays on one', () => {
    expect(show([failed('Trigger/a/b', 'first\n   second')])).toContain(': first second');
  });

  test('a thousand resources fit on a screen, and what is not ready is not lost among them', () => {
    const many = Array.from({ length: 1000 }, (_, index) => ready(`Trigger/a/${String(index)}`));
    const lines = show([...many, failed('Trigger/a/broken')]).split('\n');
    expect(lines.length).toBeLessThan(40);
    expect(lines).toContain('  and 980 more: http://127.0.0.1:9090/resources');
    expect(lines.at(-1)).toContain('Trigger/a/broken');
  });
});
