/**
 * A server that is not there: before knear starts, and while it runs. Nobody has to help: knear says what it waits for, tells
 * producers to come again, and goes on when the server is back.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openNats, type Nats } from '../../servers/nats.ts';
import { jetStream } from '../engine.ts';
import { eventually } from '../eventually.ts';
import { broker, trigger, yamlOf } from '../manifests.ts';
import { send, type Answered } from '../producer.ts';
import type { Program } from '../program.ts';
import { openStage } from '../stage.ts';
import type { Subscriber } from '../subscriber.ts';

let server: Nats;
const stage = openStage({ engine: jetStream(() => server) });
let subscriber: Subscriber;

beforeEach(async () => {
  server = await openNats();
  subscriber = await stage.subscriber();
});

afterEach(async () => {
  await stage.close();
  await server.close();
});

function resources(): string {
  return yamlOf(broker('main'), trigger('all', { subscriber: `${subscriber.url}/all` }));
}

function sendOne(program: Program, id: string): Promise<Answered> {
  return send(`${program.url}/default/main`, { id, type: 't' }, `data of ${id}`);
}

async function arrived(id: string): Promise<void> {
  await eventually(id, () => subscriber.at('/all').some((each) => each.id === id));
}

async function untilWaiting(program: Program): Promise<string> {
  return eventually(
    'a line that says so',
    () => program.errors.split('\n').find((line) => line.includes('waiting for NATS')),
    // A server that takes connections and says nothing is given twice five seconds.
    { withinMs: 15_000, otherwise: () => program.output },
  );
}

describe('a program whose server is not there yet', () => {
  /** Between two tries, at the most that it has come to here, and what a start takes. */
  const UP_MAX_MS = 10_000;

  test('says what it waits for, and starts when the server does', async () => {
    await server.kill();
    const program = stage.program(resources());
    program.spawn();

    const line = await untilWaiting(program);
    expect(JSON.parse(line)).toMatchObject({
      level: 40,
      code: 'KNEAR_NATS_AWAY',
      msg: expect.stringMatching(/^waiting for NATS: .*start it, or look at its address/),
    });
    expect(program.exit).toBeUndefined();
    // Nobody is told that it is there.
    expect(program.url).toBe('');

    await server.restart();
    const startMs = performance.now();
    await program.ready();
    expect(performance.now() - startMs).toBeLessThan(UP_MAX_MS);
    expect((await sendOne(program, 'first')).status).toBe(202);
    await arrived('first');
    // Once, however often it has tried.
    expect(program.errors.match(/waiting for NATS/g)).toHaveLength(1);
    expect(program.complaints).toEqual([]);
  });

  test('waits for one that dies in the middle of its start as well', async () => {
    // Enough to set up on the server that the start is not over before it dies.
    const brokers = Array.from({ length: 30 }, (_, index) => `b-${String(index)}`);
    const many = brokers.flatMap((name) => [
      broker(name),
      trigger(name, { broker: name, subscriber: `${subscriber.url}/all` }),
    ]);
    const program = stage.program(resources());
    program.write('many.yaml', yamlOf(...many));
    program.spawn();
    await eventually('connected', () => program.errors.includes('"msg":"NATS"'));
    await server.kill();
    expect(program.url).toBe('');

    await server.restart();
    await program.ready();
    expect((await sendOne(program, 'first')).status).toBe(202);
    await arrived('first');
  });

  test('ends well, within a second, at SIGTERM', async () => {
    await server.kill();
    const program = stage.program(resources());
    program.spawn();
    await untilWaiting(program);

    expect(await stopMs(program)).toBeLessThan(1_000);
    expect(program.complaints).toEqual([]);
  });

  test('does the same for one that stands still', async () => {
    await server.pause();
    const program = stage.program(resources());
    program.spawn();
    expect(await untilWaiting(program)).toContain('KNEAR_NATS_AWAY');
    expect(await stopMs(program)).toBeLessThan(1_000);

    program.spawn();
    server.resume();
    await program.ready();
    expect((await sendOne(program, 'first')).status).toBe(202);
    await arrived('first');
  });
});

/** How long it took to end by SIGTERM, and well. */
async function stopMs(program: Program): Promise<number> {
  const startMs = performance.now();
  expect(await program.stop()).toEqual({ code: 0, signal: null });
  return performance.now() - startMs;
}

describe('a program that loses its server', () => {
  /** "Seconds": what a publish waits for an answer, and a little. */
  const REFUSED_MAX_MS = 8_000;

  const WAYS = [
    {
      how: 'is killed',
      lose: () => server.kill(),
      bring: () => server.restart(),
    },
    {
      how: 'is stopped',
      lose: () => server.stop(),
      bring: () => server.restart(),
    },
    {
      how: 'stands still',
      lose: () => server.pause(),
      bring: () => Promise.resolve(server.resume()),
    },
  ];

  test.each(WAYS)('answers 503 and goes on by itself: it $how', async ({ lose, bring }) => {
    const program = await stage.start(resources());
    expect((await sendOne(program, 'before')).status).toBe(202);
    await arrived('before');

    await lose();
    const startMs = performance.now();
    const refused = await sendOne(program, 'meanwhile');
    expect(performance.now() - startMs).toBeLessThan(REFUSED_MAX_MS);
    expect(refused.status).toBe(503);
    expect(refused.headers['retry-after']).toMatch(/^[1-9]\d*$/);
    expect(JSON.parse(refused.body)).toMatchObject({ code: 'KNEAR_NATS_AWAY' });

    await bring();
    await program.ready();
    await eventually('a 202', async () => (await sendOne(program, 'after')).status === 202);
    await arrived('after');
    await program.idle();
    expect(program.exit).toBeUndefined();
  });

  test('says so: at /readyz, in metrics, in its log; and that it is over', async () => {
    const program = await stage.start(resources());
    expect(await program.metric('knear_log_accepting')).toBe(1);

    await server.kill();
    const health = await eventually('not ready', async () => {
      const response = await program.get('/readyz');
      const text = await response.text();
      return response.status === 503 && text;
    });
    expect(health).toContain('KNEAR_NATS_AWAY');
    expect(await program.metric('knear_log_accepting')).toBe(0);
    // It lives, and a restart would not help.
    expect((await program.get('/healthz')).status).toBe(200);
    expect(program.complaints).toEqual([
      expect.stringMatching(/"code":"KNEAR_NATS_AWAY","msg":"NATS: .*is lost: it is tried again/),
    ]);

    await server.restart();
    await program.ready();
    expect(await program.metric('knear_log_accepting')).toBe(1);
    expect(program.errors).toMatch(/"level":30,.*"msg":"NATS is there again"/);
    expect((await sendOne(program, 'after')).status).toBe(202);
    await arrived('after');
  });

  test('puts resources that change meanwhile in force when it is back', async () => {
    const program = await stage.start(resources());
    const before = await program.metric('knear_topology_revision');
    await server.kill();
    const more = trigger('more', { subscriber: `${subscriber.url}/more` });
    program.write('more.yaml', yamlOf(more));
    await eventually('a line that says so', () =>
      program.errors.includes('changed resources wait for the event log'),
    );
    // There is no place for what the new one would get.
    expect(await program.metric('knear_topology_revision')).toBe(before);

    await server.restart();
    await eventually(
      'the change',
      async () => (await program.metric('knear_topology_revision')) > before,
    );
    await program.ready();
    expect((await sendOne(program, 'after')).status).toBe(202);
    await arrived('after');
    await eventually('the new one', () => subscriber.at('/more').length === 1);
  });

  test('ends well at SIGTERM, and has kept everything when both are back', async () => {
    subscriber.on('/all', () => ({ status: 503 }));
    const program = await stage.start(resources(), { flags: ['--drain', 'PT2S'] });
    expect((await sendOne(program, 'kept')).status).toBe(202);
    await arrived('kept');
    await server.kill();

    expect(await program.stop()).toEqual({ code: 0, signal: null });

    await server.restart();
    await program.start();
    // It comes again after its lease, which nobody could give back.
    const samples = (await program.samples()).filter(({ name }) => name === 'knear_lag');
    expect(samples.reduce((sum, { value }) => sum + value, 0)).toBe(1);
  });
});
