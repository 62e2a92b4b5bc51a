/**
 * What knear knows after it, or the server that keeps its log, was stopped or killed. After each end both are started as they
 * were: the same server folder, the same prefix.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { openNats, type Nats } from '../../servers/nats.ts';
import { jetStream } from '../engine.ts';
import { eventually } from '../eventually.ts';
import { broker, trigger, yamlOf, type Manifest, type TriggerSpec } from '../manifests.ts';
import { send } from '../producer.ts';
import type { Program } from '../program.ts';
import { openStage } from '../stage.ts';
import { HANG, type Subscriber } from '../subscriber.ts';

let server: Nats;
const stage = openStage({ engine: jetStream(() => server) });
let subscriber: Subscriber;

beforeAll(async () => {
  server = await openNats();
});

afterAll(async () => {
  await stage.close();
  await server.close();
});

/** Each ends something and brings it back; resolves when the program is ready. */
const HOW: readonly { readonly what: string; again(program: Program): Promise<void> }[] = [
  {
    what: 'knear is stopped with SIGTERM',
    async again(program) {
      expect(await program.stop()).toEqual({ code: 0, signal: null });
      await program.start();
    },
  },
  {
    what: 'knear is killed with SIGKILL',
    async again(program) {
      await program.crash();
      await program.start();
    },
  },
  {
    what: 'the server is killed under a running knear',
    async again(program) {
      await server.kill();
      await server.restart();
      await untilBack(program);
    },
  },
  {
    what: 'both are killed',
    async again(program) {
      await Promise.all([program.crash(), server.kill()]);
      await server.restart();
      await program.start();
    },
  },
];

/** Ready may still be from before the end of the server. */
async function untilBack(program: Program): Promise<void> {
  await eventually('the server again', () => program.errors.includes('NATS is there again'));
  await program.ready();
}

/** What the server gives again is what a killed holder had: after its lease. */
const LEASE_MS = 15_000;

/** A Broker with a Trigger, both of this name. */
function pair(name: string, spec: Partial<TriggerSpec> = {}): Manifest[] {
  const subscriberUrl = `${subscriber.url}/${name}`;
  return [broker(name), trigger(name, { broker: name, subscriber: subscriberUrl, ...spec })];
}

async function sendMany(program: Program, to: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, index) => `e-${String(index)}`);
  const answers = await Promise.all(
    ids.map((id) => send(`${program.url}/default/${to}`, { id, type: 't' }, `data of ${id}`)),
  );
  expect(answers.filter(({ status }) => status !== 202)).toEqual([]);
  return ids;
}

async function allAcknowledged(): Promise<boolean> {
  const query = 'accounts=true&streams=true&consumers=true';
  const told = await (await fetch(`${server.monitorUrl}/jsz?${query}`)).text();
  const pending = [...told.matchAll(/"num_ack_pending": *(\d+)/g)].map(([, count]) =>
    Number(count),
  );
  return pending.length > 0 && pending.every((count) => count === 0);
}

async function untilAll(path: string, ids: readonly string[], withinMs = 10_000): Promise<void> {
  const missing = () => {
    const arrived = new Set(subscriber.at(path).map(({ id }) => id));
    return ids.filter((id) => !arrived.has(id));
  };
  const options = { withinMs, otherwise: missing };
  await eventually('every event', () => missing().length === 0, options);
}

describe.each(HOW)('after $what', ({ again }) => {
  let program: Program;
  let held: readonly string[];
  let parked: readonly string[];
  const lag = (name: string, state: string) =>
    program.metric('knear_lag', { egress: `trigger:${name}.default`, state });

  function resources({ isPaused }: { readonly isPaused: boolean }): string {
    const delivery = { retry: 1, backoffPolicy: 'linear', backoffDelay: 'PT4S' };
    return yamlOf(
      ...pair('held', { annotations: isPaused ? { 'knear.dev/paused': 'true' } : {} }),
      ...pair('parked'),
      // Over a second: such a wait is kept in the log.
      ...pair('waiting', { delivery }),
    );
  }

  beforeAll(async () => {
    subscriber = await stage.subscriber();
    subscriber.on('/parked', () => ({ status: 400 }));
    subscriber.on('/waiting', ({ nth }) => (nth === 1 ? { status: 503 } : {}));
    program = await stage.start(resources({ isPaused: true }));
    held = await sendMany(program, 'held', 100);
    parked = await sendMany(program, 'parked', 5);
    await sendMany(program, 'waiting', 1);
    await eventually('all at its place', async () => {
      const isParked = (await lag('parked', 'parked')) === parked.length;
      const isDelayed = (await lag('waiting', 'delayed')) === 1;
      return isParked && isDelayed && (await program.metric('knear_open_deliveries')) === 0;
    });
    // What knear has settled leaves it with the end of a turn: killed before that, it is given again.
    await eventually('the server to have heard of it', allAcknowledged);
    await again(program);
  });

  afterAll(() => stage.close());

  test('a wait that was kept in the log goes on', async () => {
    await eventually('the second attempt', () => subscriber.at('/waiting').length === 2);
    const [first = 0, second = 0] = subscriber.at('/waiting').map(({ atMs }) => atMs);
    expect(second - first).toBeGreaterThanOrEqual(3_998);
  });

  test('what was acknowledged is delivered, once and unchanged', async () => {
    expect(await lag('held', 'ready')).toBe(held.length);
    await program.change(() => program.write('main.yaml', resources({ isPaused: false })));
    await untilAll('/held', held);
    await program.idle();
    const arrived = subscriber.at('/held');
    expect(arrived.map(({ id }) => id).sort()).toEqual([...held].sort());
    expect(arrived.every(({ id, body }) => String(body) === `data of ${id}`)).toBe(true);
  });

  test('parked events are there, counted, and can be replayed', async () => {
    expect(await lag('parked', 'parked')).toBe(parked.length);
    expect(subscriber.at('/parked')).toHaveLength(parked.length);
    subscriber.on('/parked', () => ({}));
    const replayed = await program.command('parked', 'replay', 'trigger', 'parked', '--all');
    expect(replayed).toMatchObject({ code: 0, stderr: '' });
    await eventually('all of them', () => subscriber.at('/parked').length === 2 * parked.length);
    await program.idle();
    expect(await lag('parked', 'parked')).toBe(0);
  });

  test('nothing is done twice', async () => {
    await program.idle();
    expect(subscriber.at('/waiting')).toHaveLength(2);
    expect(subscriber.received).toHaveLength(held.length + 2 * parked.length + 2);
  });
});

describe('meanwhile', () => {
  beforeEach(async () => {
    subscriber = await stage.subscriber();
  });

  afterEach(() => stage.close());

  test('producers that go on while the server is killed lose nothing', async () => {
    const program = await stage.start(yamlOf(...pair('all')));
    const taken: string[] = [];
    let isOver = false;
    const producers = Array.from({ length: 4 }, async (_, producer) => {
      for (let number = 0; !isOver; number += 1) {
        const id = `p${String(producer)}-${String(number)}`;
        const { status } = await send(`${program.url}/default/all`, { id, type: 't' });
        if (status === 202) taken.push(id);
        else expect(status).toBe(503);
      }
    });
    const untilTaken = async (count: number) => {
      await eventually('events', () => taken.length >= count);
    };

    await untilTaken(100);
    for (let round = 0; round < 2; round += 1) {
      await server.kill();
      await server.restart();
      await program.ready();
      await untilTaken(taken.length + 100);
    }
    isOver = true;
    await Promise.all(producers);

    await untilAll('/all', taken, LEASE_MS + 10_000);
    // A settle that the server was not there for is one that did not happen: such an event comes again.
    await program.idle(LEASE_MS + 10_000);
  });

  test('SIGTERM gives back what a subscriber hangs on: it comes again at once, not after its lease', async () => {
    subscriber.on('/all', HANG);
    const program = await stage.start(yamlOf(...pair('all')), { flags: ['--drain', 'PT1S'] });
    await untilAll('/all', await sendMany(program, 'all', 1));
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    subscriber.on('/all', () => ({}));
    await program.start();
    await eventually('the event again', () => subscriber.at('/all').length === 2, {
      withinMs: 5_000,
    });
    await program.idle();
    expect(subscriber.at('/all')).toHaveLength(2);
  });
});
