/** Delivery by https: whose certificates are trusted, by which name, and that connections keep them apart. */
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import https from 'node:https';
import type net from 'node:net';
import { generate } from 'selfsigned';
import { closeAll, openDeliverer, requestTo } from './deliver-subscribers.ts';

const NAME = 'orders.shop.svc.cluster.local';
const servers: https.Server[] = [];
let pair: { readonly private: string; readonly cert: string };
let other: { readonly cert: string };

beforeAll(async () => {
  const options = {
    keySize: 2048,
    extensions: [
      { name: 'basicConstraints' as const, cA: true },
      {
        name: 'subjectAltName' as const,
        altNames: [
          { type: 2 as const, value: NAME },
          { type: 2 as const, value: 'localhost' },
        ],
      },
    ],
  };
  pair = await generate([{ name: 'commonName', value: NAME }], options);
  other = await generate([{ name: 'commonName', value: 'other' }], options);
});

afterEach(async () => {
  await closeAll();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
});

/** Notes the name that each connection asks for. */
async function httpsSubscriber() {
  const names: (string | false | null)[] = [];
  let connections = 0;
  const server = https.createServer({ key: pair.private, cert: pair.cert }, (request, response) => {
    request.resume().on('end', () => response.writeHead(202).end());
  });
  server.on('secureConnection', (socket) => {
    connections += 1;
    names.push(socket.servername);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push(server);
  const { port } = server.address() as net.AddressInfo;
  return { port, names, connections: () => connections };
}

describe('a subscriber by https', () => {
  test('is trusted by the certificates that the Destination names', async () => {
    const { port } = await httpsSubscriber();
    const request = requestTo(`https://localhost:${port}/`, { caCerts: pair.cert });
    expect(await openDeliverer().deliver(request)).toEqual({ kind: 'accepted', status: 202 });
  });

  test('of a Service is asked for by the name of the Service, whatever its address', async () => {
    const { port, names } = await httpsSubscriber();
    const request = requestTo(`https://127.0.0.1:${port}/`, { host: NAME, caCerts: pair.cert });
    expect(await openDeliverer().deliver(request)).toEqual({ kind: 'accepted', status: 202 });
    expect(names).toEqual([NAME]);
  });

  test.each([
    { name: 'that nobody vouches for', caCerts: () => undefined, host: undefined },
    { name: 'that another authority vouches for', caCerts: () => other.cert, host: undefined },
    { name: 'that has another name', caCerts: () => pair.cert, host: 'payments.shop' },
    { name: 'with certificates that are none', caCerts: () => 'nonsense', host: undefined },
  ])('$name is not called', async ({ caCerts, host }) => {
    const { port } = await httpsSubscriber();
    const request = requestTo(`https://localhost:${port}/`, {
      caCerts: caCerts(),
      ...(host !== undefined && { host }),
    });
    expect(await openDeliverer().deliver(request)).toMatchObject({
      kind: 'unreachable',
      code: 'KNEAR_UNREACHABLE',
    });
  });

  test('shares no connection with those who trust others', async () => {
    const { port, connections } = await httpsSubscriber();
    const deliverer = openDeliverer();
    const trusting = requestTo(`https://localhost:${port}/`, { caCerts: pair.cert });
    await deliverer.deliver(trusting);
    await deliverer.deliver(trusting);
    expect(connections()).toBe(1);
    // What one Trigger trusts is no reason to trust it in the name of another.
    const outcome = await deliverer.deliver(requestTo(`https://localhost:${port}/`));
    expect(outcome).toMatchObject({ kind: 'unreachable' });
  });
});
