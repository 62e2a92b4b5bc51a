/**
 * What the NATS server gives a program that does nothing else with its events: publishing into a stream as knear makes them,
 * and taking them out of it. The floor of the rows on JetStream, in the same run.
 */
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, nanos, type NatsConnection } from '@nats-io/transport-node';
import { nowUs } from '../clock.ts';
import { startNats } from '../engine.ts';
import type { Options } from '../options.ts';
import type { Attempt, Row } from '../row.ts';
import { spread } from '../statistics.ts';
import type { Stage } from '../stage.ts';

const DATA = Buffer.alloc(1_024, 'x');
/** As many as one connection needs to keep the server busy. */
const OUTSTANDING = 256;
const STREAM = 'BENCH';

export async function runServer(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  const { engine, children } = stage;
  if (engine.name === 'embedded') return;
  const server = await startNats(children, { isAlways: engine.name === 'jetstream-always' });
  const nc = await connect({ servers: server.url });
  try {
    await setUp(nc);
    const published: number[] = [];
    const consumed: number[] = [];
    for (let round = 0; round < options.rounds; round += 1) {
      const count = await publish(nc, options.ms);
      published.push(count / (options.ms / 1e3));
      consumed.push(await consume(nc, count));
    }
    await attempt('server', async () => toRow('nats-publish', 'raw publish, 1 KB', published));
    await attempt('server', async () => toRow('nats-consume', 'raw consume and ack', consumed));
  } finally {
    await nc.close();
    server.program.kill('SIGKILL');
    await server.program.ended;
  }
}

async function setUp(nc: NatsConnection): Promise<void> {
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: STREAM, subjects: ['bench.>'], retention: 'interest' });
  await jsm.consumers.add(STREAM, {
    durable_name: 'all',
    ack_policy: 'explicit',
    ack_wait: nanos(15_000),
  });
}

/** @returns how many the server has answered for. */
async function publish(nc: NatsConnection, ms: number): Promise<number> {
  const js = jetstream(nc);
  const untilUs = nowUs() + ms * 1e3;
  let count = 0;
  const one = async (): Promise<void> => {
    while (nowUs() < untilUs) {
      await js.publish('bench.event', DATA);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: OUTSTANDING }, one));
  return count;
}

/** @returns messages a second. */
async function consume(nc: NatsConnection, count: number): Promise<number> {
  const consumer = await jetstream(nc).consumers.get(STREAM, 'all');
  const startUs = nowUs();
  let taken = 0;
  const messages = await consumer.consume({ max_messages: 500 });
  for await (const message of messages) {
    message.ack();
    taken += 1;
    if (taken === count) break;
  }
  const seconds = (nowUs() - startUs) / 1e6;
  await nc.flush();
  return count / seconds;
}

function toRow(id: 'nats-publish' | 'nats-consume', title: string, rates: readonly number[]): Row {
  return {
    id,
    title,
    unit: 'messages/s',
    measured: spread(rates),
    lost: 0,
    foreignCores: 0,
    notes: ['one connection of the bench itself'],
  };
}
