/**
 * A Sequence of five steps with local hops, in a program that is killed again and again in the middle of it. What is counted is
 * what subscribers have finished, life by life: from outside, a crash may repeat little, and nothing else is ever repeated.
 */
import { expect, test } from '@jest/globals';
import { EMBEDDED, jetStream, type Engine } from '../e2e/engine.ts';
import { pause } from '../e2e/eventually.ts';
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  subscription,
  trigger,
  yamlOf,
} from '../e2e/manifests.ts';
import { binary, post } from '../e2e/producer.ts';
import type { Program } from '../e2e/program.ts';
import { openStage } from '../e2e/stage.ts';
import type { Subscriber } from '../e2e/subscriber.ts';
import { openNats } from '../servers/nats.ts';
import { SeededRandom } from '../sim/random.ts';

/** A killed program's deliveries come again from a server after 15 s, each time: fewer are enough there. */
const KILLS = { embedded: 20, JetStream: 10 } as const;
const STEPS = [1, 2, 3, 4, 5] as const;
/**
 * A step takes 400 ms and a crash may repeat 500 ms of what is finished: a line is two steps, then there is a record. So a
 * crash repeats two of them: one that was followed by a hop, and the one whose answer it came upon.
 */
const STEP_MS = 400;
const REDO_MAX = 'PT0.5S';
/** And one more where the disk takes longer than a step for the record between. Without a bound it would be four. */
const REPEATED_MAX = 3;
const PRODUCERS = 4;
const THINK_MS = 400;
const LOAD_MIN_MS = 300;
const LOAD_MAX_MS = 2_500;
/** What a killed program held comes again from a server after 15 s, more than once. */
const SETTLE_MAX_MS = 90_000;
const LIMIT_MS = 280_000;

interface Finished {
  readonly step: number;
  readonly id: string;
  /** Of this very call: the events that come of it name it in their data. */
  readonly call: string;
  /** Of the program, every other number: that in which the request came. */
  readonly life: number;
}

export function testHopKills(engine: Engine['name']): void {
  test(
    'C1 C2 C3 a Sequence with local hops loses nothing and repeats little however often it is killed',
    async () => {
      const seed = Date.now() % 1_000_000;
      console.log(`kill test of local hops: ${engine}, seed ${String(seed)}`);
      const server = engine === 'JetStream' ? await openNats() : undefined;
      const stage = openStage({ engine: server ? jetStream(() => server) : EMBEDDED });
      try {
        const subscriber = await stage.subscriber();
        const program = await stage.start(resources(subscriber.url));
        await check({ engine, program, subscriber, random: new SeededRandom(seed) });
      } finally {
        await stage.close();
        await server?.close();
      }
    },
    LIMIT_MS,
  );
}

interface Scene {
  readonly engine: Engine['name'];
  readonly program: Program;
  readonly subscriber: Subscriber;
  readonly random: SeededRandom;
}

async function check({ engine, program, subscriber, random }: Scene): Promise<void> {
  let life = 0;
  let calls = 0;
  const finished: Finished[] = [];
  for (const step of STEPS) {
    subscriber.on(`/step-${String(step)}`, async ({ id, body }) => {
      const isOf = life;
      // Some fail, so that hops are tried again, and a line goes on from there.
      if (random.chance(0.05)) return { status: 404 };
      await pause(STEP_MS);
      calls += 1;
      const call = `call-${String(calls)}`;
      if (life === isOf && isAlive(life)) finished.push({ step, id, call, life });
      const headers = binary({ id, type: `hops.after-${String(step)}` });
      return { status: 200, headers, body: `${body.toString()} ${call}` };
    });
  }
  const producers = startProducers(() => program.url);
  for (let kill = 0; kill < KILLS[engine]; kill += 1) {
    await pause(random.between(LOAD_MIN_MS, LOAD_MAX_MS));
    // What a subscriber has not finished by now was under way, and what still comes was sent before.
    life += 1;
    await program.crash();
    life += 1;
    await program.start();
  }
  const acknowledged = await producers.stop();
  await program.idle(SETTLE_MAX_MS);
  expect(await program.metric('knear_local_hops_total', { result: 'taken' })).toBeGreaterThan(0);
  expect(program.complaints).toEqual([]);

  const results = subscriber.at('/result');
  const arrived = new Set(results.map(({ id }) => id));
  expect(acknowledged.filter((id) => !arrived.has(id))).toEqual([]);
  expect(acknowledged.length).toBeGreaterThan(KILLS[engine]);

  const lost = lostOf(finished, results.map(({ body }) => body.toString()).join(' '));
  const most = Math.max(0, ...lost.values());
  console.log(
    `${String(acknowledged.length)} acknowledged, ${String(finished.length)} steps finished, ` +
      `${String(lost.size)} lines repeated by a kill, at most ${String(most)} steps of one, ` +
      `${String(results.length - arrived.size)} results came more than once`,
  );
  expect(lost.size).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(REPEATED_MAX);
  // A server gives again what it has not heard the end of, in whichever life.
  if (engine === 'embedded') expect(againIn(finished)).toEqual([]);
}

function isAlive(life: number): boolean {
  return life % 2 === 0;
}

/**
 * C2: `id life` -> finished steps of that life that nothing came of, so that a later one did them again. What a kill left
 * twice, because it fell between an outcome and the word that it is kept, comes of two calls and is nothing lost.
 */
function lostOf(finished: readonly Finished[], results: string): Map<string, number> {
  const used = new Set(results.split(' '));
  const lost = new Map<string, number>();
  for (const { id, call, life } of finished) {
    if (used.has(call)) continue;
    const key = `${id} ${String(life)}`;
    lost.set(key, (lost.get(key) ?? 0) + 1);
  }
  return lost;
}

/** C3: what was finished twice in one life. */
function againIn(finished: readonly Finished[]): string[] {
  const seen = new Set<string>();
  return finished.flatMap(({ step, id, life }) => {
    const key = `step ${String(step)} of ${id} in life ${String(life)}`;
    if (seen.has(key)) return [key];
    seen.add(key);
    return [];
  });
}

interface Producers {
  /** The ids of what was acknowledged. */
  stop(): Promise<readonly string[]>;
}

/**
 * Each sends one event after the other, until it gets a 202 for it. What a kill cut off may have been accepted all the same: it
 * is sent as another event, or its two lines would be counted as one that repeats.
 */
function startProducers(url: () => string): Producers {
  const acknowledged: string[] = [];
  let isStopping = false;
  const produce = async (producer: number): Promise<void> => {
    for (let count = 0; !isStopping; count += 1) {
      const id = `${String(producer)}-${String(count)}`;
      const isAcknowledged = (await statusOf(`${url()}/hops/main`, id)) === 202;
      if (isAcknowledged) acknowledged.push(id);
      await pause(isAcknowledged ? THINK_MS : 25);
    }
  };
  const all = Promise.all(Array.from({ length: PRODUCERS }, (_, index) => produce(index)));
  return {
    async stop() {
      isStopping = true;
      await all;
      return acknowledged;
    },
  };
}

async function statusOf(url: string, id: string): Promise<number> {
  try {
    return (await post(url, { headers: binary({ id, type: 'hops.start' }), body: id })).status;
  } catch {
    return 0; // refused, reset, or nobody there: the program is being killed all the time
  }
}

/** A Sequence as its controller writes it. */
function resources(url: string): string {
  const namespace = 'hops';
  const annotations = { 'knear.dev/local-hop': 'chain', 'knear.dev/redo-max': REDO_MAX };
  const common = { namespace, annotations };
  const delivery = { retry: 20, backoffPolicy: 'linear', backoffDelay: 'PT0.05S' };
  return yamlOf(
    broker('main', common),
    trigger('in', { ...common, filter: { type: 'hops.start' }, subscriber: channelRef('step-1') }),
    trigger('out', {
      ...common,
      filter: { type: `hops.after-${String(STEPS.length)}` },
      subscriber: `${url}/result`,
    }),
    ...STEPS.flatMap((step) => [
      channel(`step-${String(step)}`, common),
      subscription(`step-${String(step)}`, {
        ...common,
        channel: `step-${String(step)}`,
        subscriber: `${url}/step-${String(step)}`,
        reply: step === STEPS.length ? brokerRef('main') : channelRef(`step-${String(step + 1)}`),
        delivery,
      }),
    ]),
  );
}
