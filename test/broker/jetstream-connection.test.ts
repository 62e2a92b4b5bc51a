/**
 * Goal: knear waits for a NATS server, finds it again when it is lost, and says in words what is in the way. Method: real servers,
 * killed and started again (`nats-attempts.ts`). Who may come in, TLS and what a server must be are in files of their own.
 */
import { describe, expect, test } from '@jest/globals';

import { eventually } from '../e2e/eventually.ts';
import { expectObstacle, expectUsable, useAttempts, USER } from './nats-attempts.ts';

const attempts = useAttempts();
const { attempt, fileWith, openServer, openSilent } = attempts;

describe('a server that can keep the log', () => {
  test('is connected to, and told of', async () => {
    const server = await openServer();
    const { link, waiting, statuses } = attempt(server);
    const open = await link;
    expect(open.info).toEqual({
      version: '2.15.2',
      payloadMaxBytes: 1_048_576,
      serverName: expect.stringMatching(/^N/),
      isTls: false,
    });
    await expectUsable(open);
    expect({ waiting, statuses }).toEqual({ waiting: [], statuses: [] });
  });

  test('is found among others that do not answer', async () => {
    const server = await openServer();
    const away = await openServer();
    await away.kill();
    const { link, statuses } = attempt('', { servers: [away.url, server.url] });
    await expectUsable(await link);
    // From then on, any of them will do.
    await server.kill();
    await away.restart();
    await eventually('at the other', () => statuses.length === 2);
    expect(statuses[1]).toBeUndefined();
    await expectUsable(await link);
  });

  test('is left in order, once', async () => {
    const server = await openServer();
    const open = await attempt(server).link;
    const { nc } = open;
    nc.publish('kn.test', 'the last');
    await Promise.all([open.close(), open.close()]);
    await open.close();
    expect(nc.isClosed()).toBe(true);
  });
});

describe('a server that is away', () => {
  test('is waited for: told once, and connected to when it is there', async () => {
    const server = await openServer();
    await server.kill();
    const tried = attempt(server);
    await expectObstacle(
      tried,
      'KNEAR_NATS_AWAY',
      /does not answer \(.*ECONNREFUSED.*\): start it/,
    );
    await server.restart();
    await expectUsable(await tried.link);
    expect(tried.waiting).toHaveLength(1);
  });

  test('is told anew when it is there and still not fit', async () => {
    const server = await openServer({ jetStream: false });
    await server.kill();
    const { waiting } = attempt(server);
    await eventually('away', () => waiting.length === 1);
    await server.restart();
    await eventually('unfit', () => waiting.length === 2);
    expect(waiting.map(({ code }) => code)).toEqual(['KNEAR_NATS_AWAY', 'KNEAR_NATS_UNSUITABLE']);
  });

  test('has a name that nobody knows', async () => {
    const tried = attempt('nats://nowhere.invalid:4222');
    await expectObstacle(tried, 'KNEAR_NATS_AWAY', /nowhere\.invalid/);
  });

  test('takes a connection and stays silent: that is told, and no connection is left open', async () => {
    const silent = await openSilent();
    const tried = attempt(silent.url);
    await expectObstacle(tried, 'KNEAR_NATS_AWAY', /takes a connection and is silent for 5 s/);
    tried.abort(new Error('enough'));
    await eventually('no connection', () => silent.open === 0);
  });

  test('is not waited for any more after an abort, neither between two tries nor in one', async () => {
    const reason = new Error('enough');
    const away = attempt('nats://127.0.0.1:1');
    await eventually('a first try', () => away.waiting.length === 1);
    away.abort(reason);
    await expect(away.link).rejects.toBe(reason);

    const silent = await openSilent();
    const tried = attempt(silent.url);
    await eventually('a connection', () => silent.open === 1);
    tried.abort(reason);
    await expect(tried.link).rejects.toBe(reason);
    await eventually('no connection', () => silent.open === 0);

    const early = AbortSignal.abort(reason);
    await expect(attempt('nats://127.0.0.1:1', { signal: early }).link).rejects.toBe(reason);
  });

  test('leaves no connection behind when it comes just after the abort', async () => {
    const server = await openServer();
    const tried = attempt(server);
    tried.abort(new Error('enough'));
    await expect(tried.link).rejects.toThrow('enough');
    await eventually('no connection', async () => {
      const answer = await fetch(`${server.monitorUrl}/connz`);
      const { num_connections: count } = (await answer.json()) as { num_connections: number };
      return count === 0;
    });
  });
});

describe('while it runs', () => {
  test('a server that is killed and comes back is told both times, and takes events again', async () => {
    const server = await openServer({ jetStream: 'sync_interval: always' });
    const { link, statuses } = attempt(server);
    const open = await link;
    await expectUsable(open);
    await server.kill();
    await eventually('lost', () => statuses.length === 1);
    await server.restart();
    await eventually('back', () => statuses.length === 2);
    expect(statuses).toEqual([
      expect.objectContaining({
        code: 'KNEAR_NATS_AWAY',
        message: expect.stringMatching(/127\.0\.0\.1:\d+ is lost: it is tried again/),
      }),
      undefined,
    ]);
    expect(await open.js.publish('kn.test.a', 'y')).toMatchObject({ seq: 2 });
  });

  test('a server that comes back and takes smaller messages is told as unfit, until it takes large ones', async () => {
    const server = await openServer();
    const { link, statuses } = attempt(server);
    await link;
    server.config('max_payload: 512KB');
    await server.kill();
    await server.restart();
    await eventually('unfit', () => statuses.at(-1)?.code === 'KNEAR_NATS_UNSUITABLE');
    expect(statuses.at(-1)?.message).toMatch(/524288 bytes, and took 1048576 when knear started/);
    server.config('');
    await server.kill();
    await server.restart();
    await eventually('back', () => statuses.at(-1) === undefined);
  });

  test('limits of the account that came with a restart are told, until they are taken off', async () => {
    const config = (limit: string) =>
      `accounts { SHOP { jetstream { ${limit} }, users: [ { user: shop, password: s3cret } ] } }`;
    const server = await openServer({ config: config('') });
    const credentials = { ...USER, passwordFile: fileWith('s3cret') };
    const { link, statuses } = attempt(server, { credentials });
    await link;
    server.config(config('max_bytes_required: true'));
    await server.kill();
    await server.restart();
    await eventually('unfit', () => statuses.at(-1)?.code === 'KNEAR_NATS_UNSUITABLE');
    // The connection stays.
    server.config(config(''));
    await server.reload();
    await eventually('fit', () => statuses.at(-1) === undefined);
    const codes = statuses.map((trouble) => trouble?.code);
    expect(codes).toEqual(['KNEAR_NATS_AWAY', 'KNEAR_NATS_UNSUITABLE', undefined]);
  });

  test('what the user may not do is told, and forgotten after a while', async () => {
    const config = `authorization { users: [
      { user: shop, password: s3cret, permissions: { publish: { deny: "kn.secret" } } } ] }`;
    const server = await openServer({ config });
    const credentials = { ...USER, passwordFile: fileWith('s3cret') };
    const { link, statuses } = attempt(server, { credentials });
    const { nc } = await link;
    nc.publish('kn.secret', 'x');
    await eventually('told', () => statuses.length === 1);
    expect(statuses[0]).toMatchObject({
      code: 'KNEAR_NATS_DENIED',
      message: expect.stringMatching(/Publish to "kn\.secret".*grant the permissions/),
    });
    await eventually('forgotten', () => statuses.length === 2);
    expect(statuses[1]).toBeUndefined();
  });

  test('nothing is told after it was closed', async () => {
    const server = await openServer();
    const { link, statuses } = attempt(server);
    const open = await link;
    await open.close();
    await server.kill();
    expect(await open.nc.closed()).toBeUndefined();
    expect(statuses).toEqual([]);
  });

  test('closing does not wait for a server that is away', async () => {
    const server = await openServer();
    const { link, statuses } = attempt(server);
    const open = await link;
    await server.kill();
    await eventually('lost', () => statuses.length === 1);
    await open.close();
    expect(open.nc.isClosed()).toBe(true);
  });
});
