/**
 * A cluster under load in which every role and the server are killed in turns: two controllers, two ingresses, two dispatchers.
 * In the end everything that was answered 202 has arrived at every subscriber that wants it or in a dead letter sink.
 */
import { afterEach, expect, test } from '@jest/globals';
import { eventually, pause } from '../e2e/eventually.ts';
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  subscription,
  trigger,
  yamlOf,
} from '../e2e/manifests.ts';
import { binary } from '../e2e/producer.ts';
import type { Program } from '../e2e/program.ts';
import { openStage } from '../e2e/stage.ts';
import type { Subscriber } from '../e2e/subscriber.ts';
import { openNats, type Nats } from '../servers/nats.ts';
import { SeededRandom } from '../sim/random.ts';
import {
  duplicatesAt,
  longestGapAt,
  missingAt,
  slowestAt,
  startLoad,
  type Load,
} from './cluster-load.ts';
import { allReady, faultsOf, partsOf } from './cluster-parts.ts';

const STEPS = [1, 2, 3] as const;
const RESOURCES = 12;
/** Between one that was killed, and is there again, and the next. */
const LIFE_MS = 2_000;
/** Events, so that a run on a slow machine has some of each kind. */
const ENOUGH = 400;
/** How long the server is away. */
const AWAY_MS = 700;
/** What a killed dispatcher held comes again after 15 s, be it twice; the machine may be busy. */
const SETTLE_MAX_MS = 60_000;

const stage = openStage({
  engine: { name: 'JetStream', removesPayloads: false, flags: () => [], quotaFlags: () => [] },
});
let nats: Nats | undefined;
let load: Load | undefined;
afterEach(async () => {
  await load?.stop();
  await stage.close();
  await nats?.close();
});

test('nothing that was acknowledged is lost, whichever role or server is killed', async () => {
  const seed = Date.now() % 1_000_000;
  const random = new SeededRandom(seed);
  console.log(`kill test of a cluster: seed ${String(seed)}`);
  const server = (nats = await openNats());
  const subscriber = await stage.subscriber();
  script(subscriber, random);
  const parts = partsOf(stage, server, resources(subscriber.url));
  const first = await parts.started('controller');
  const ingresses = [parts.add('ingress'), parts.add('ingress')];
  const dispatchers = [parts.add('dispatcher'), parts.add('dispatcher')];
  await Promise.all([...ingresses, ...dispatchers].map((each) => each.start()));
  await allReady(first, RESOURCES);
  const second = parts.add('controller');
  second.spawn();
  const controllers = [first, second];

  load = startLoad({
    urls: () => ingresses.map((each) => (each.exit ? '' : each.url)),
    path: '/kill/main',
    type: 'kill.start',
    producers: 4,
    thinkMs: 40,
  });
  const [ingressA, ingressB] = ingresses as [Program, Program];
  const [dispatcherA, dispatcherB] = dispatchers as [Program, Program];
  const killServer = async () => {
    await server.kill();
    await pause(AWAY_MS);
    await server.restart();
  };
  const turns: readonly (() => Promise<void>)[] = [
    () => killAndStart(dispatcherA),
    () => killAndStart(ingressA),
    killServer,
    async () => {
      await first.crash();
      // It waits by then, as the other one leads.
      first.spawn();
    },
    () => killAndStart(ingressB),
    () => killAndStart(dispatcherB),
    killServer,
    async () => {
      await Promise.all([killAndStart(ingressA), killAndStart(dispatcherA), killServer()]);
    },
  ];
  let ended = 0;
  for (const turn of turns) {
    await pause(random.between(LIFE_MS / 2, LIFE_MS));
    await turn();
    // As whoever supervises processes would.
    for (const each of controllers) {
      if (!each.exit) continue;
      ended += 1;
      each.spawn();
    }
  }
  const sent = load.acknowledged;
  await eventually('enough', () => sent.size > ENOUGH);
  await load.stop();
  const stoppedAtMs = performance.now();

  const { acknowledged, refused } = load;
  const ids = [...acknowledged.keys()];
  const lost = () => ({
    all: missingAt(subscriber, ids, ['/all', '/dead/all']),
    flaky: missingAt(subscriber, ids, ['/flaky-taken', '/dead/flaky']),
    result: missingAt(subscriber, ids, ['/result', '/dead/chain']),
  });
  const leader = await eventually('a controller leads', () =>
    controllers.find((each) => !each.exit && each.adminUrl !== ''),
  );
  await leader.ready();
  await eventually('all there', () => Object.values(lost()).every((each) => each.length === 0), {
    withinMs: SETTLE_MAX_MS,
    otherwise: () => JSON.stringify(lost()).slice(0, 2_000),
  });
  const settledMs = performance.now() - stoppedAtMs;
  // Nothing is left over that nobody would ever see.
  await leader.idle(SETTLE_MAX_MS);
  await allReady(leader, RESOURCES);

  const slowest = slowestAt(subscriber, acknowledged, '/all');
  console.log(
    [
      `${String(ids.length)} acknowledged, ${String(refused)} tries without a 202`,
      ...['/all', '/flaky-taken', '/result', '/dead/all', '/dead/flaky', '/dead/chain'].map(
        (path) =>
          `${path}: ${String(subscriber.at(path).length)} of which ${String(duplicatesAt(subscriber, path))} again`,
      ),
      `longest gap at /all ${longestGapAt(subscriber, '/all').toFixed(0)} ms`,
      `slowest ${slowest.ms.toFixed(0)} ms (${slowest.id})`,
      `settled ${settledMs.toFixed(0)} ms after the last event`,
      `${String(ended)} ends of controllers by themselves`,
    ].join('\n'),
  );
  // The run has tried what it is about.
  expect(subscriber.at('/dead/flaky').length).toBeGreaterThan(0);
  expect(subscriber.at('/result').length).toBeGreaterThan(ENOUGH / 2);
  for (const each of [...ingresses, ...dispatchers, ...controllers]) {
    expect(faultsOf(each)).toEqual([]);
  }
}, 175_000);

async function killAndStart(program: Program): Promise<void> {
  await program.crash();
  await program.start();
}

/** Half of what comes to /flaky fails, so that an event in sixteen is a dead letter; what it takes is told to another path. */
function script(subscriber: Subscriber, random: SeededRandom): void {
  subscriber.on('/flaky', ({ id }) => {
    if (random.chance(0.5)) return { status: 500, afterMs: random.between(0, 100) };
    return {
      status: 200,
      headers: binary({ id, type: 'kill.flaky-taken' }),
      afterMs: random.between(0, 50),
    };
  });
  for (const step of STEPS) {
    subscriber.on(`/step-${String(step)}`, ({ id }) => ({
      status: 200,
      headers: binary({ id, type: `kill.after-${String(step)}` }),
      afterMs: random.between(0, 50),
    }));
  }
}

function resources(url: string): string {
  const namespace = 'kill';
  const delivery = (sink: string) => ({
    retry: 3,
    backoffPolicy: 'linear',
    backoffDelay: 'PT0.1S',
    deadLetterSink: { uri: `${url}/dead/${sink}` },
  });
  const triggerOf = (name: string, type: string, subscriber: string | object, sink = 'chain') =>
    trigger(name, { namespace, filter: { type }, subscriber, delivery: delivery(sink) });
  return yamlOf(
    broker('main', { namespace }),
    triggerOf('all', 'kill.start', `${url}/all`, 'all'),
    triggerOf('flaky', 'kill.start', `${url}/flaky`, 'flaky'),
    triggerOf('flaky-taken', 'kill.flaky-taken', `${url}/flaky-taken`, 'flaky'),
    triggerOf('in', 'kill.start', channelRef('step-1')),
    triggerOf('out', 'kill.after-3', `${url}/result`),
    ...STEPS.flatMap((step) => [
      channel(`step-${String(step)}`, { namespace }),
      subscription(`step-${String(step)}`, {
        namespace,
        channel: `step-${String(step)}`,
        subscriber: `${url}/step-${String(step)}`,
        reply: step === 3 ? brokerRef('main') : channelRef(`step-${String(step + 1)}`),
        delivery: delivery('chain'),
      }),
    ]),
  );
}
