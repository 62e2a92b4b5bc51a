/**
 * Goal: whatever a sender that is used out there writes, a subscriber that nobody changed gets the event as it was meant.
 * Method: bytes of requests, recorded from the SDKs of four languages and from curl (`senders/README.md`) or written by
 * hand where no SDK goes, are put on a connection as they are; the SDK for JavaScript and curl also send by themselves.
 * Each request has a Broker and a path at the subscriber of its own, and every attribute, header and byte is compared.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import type { Program } from './program.ts';
import { expectArrival, type Arrival } from './senders/arrivals.ts';
import { ATTRIBUTE_ROWS } from './senders/attribute-rows.ts';
import { BODY_ROWS } from './senders/body-rows.ts';
import { CURL_COMMANDS } from './senders/curl.ts';
import { SDK_ROWS } from './senders/javascript.ts';
import { RECORDINGS } from './senders/recordings.ts';
import { replay } from './senders/replay.ts';
import { openStage } from './stage.ts';
import type { Subscriber } from './subscriber.ts';

const FOLDER = join(import.meta.dirname, 'senders', 'recorded');
const HAS_CURL = spawnSync('curl', ['--version'], { stdio: 'ignore' }).status === 0;

const stage = openStage();
let program: Program;
let subscriber: Subscriber;

const live = (name: string) => `live-${name}`;
/** Broker, and path at the subscriber -> how many events are to arrive there. */
const expected = new Map<string, number>();

beforeAll(async () => {
  subscriber = await stage.subscriber();
  const names = [
    ...Object.keys(RECORDINGS),
    ...CURL_COMMANDS.map(({ name }) => live(name)),
    ...[...ATTRIBUTE_ROWS, ...BODY_ROWS, ...SDK_ROWS].map(({ name }) => name),
  ];
  const namespace = { namespace: 'senders' };
  const resources = names.flatMap((name) => [
    broker(name, namespace),
    trigger(name, { ...namespace, broker: name, subscriber: `${subscriber.url}/${name}` }),
  ]);
  program = await stage.start(yamlOf(...resources));
});

afterAll(() => stage.close());

async function expectAt(name: string, arrivals: readonly Arrival[]): Promise<void> {
  expected.set(name, arrivals.length);
  const received = subscriber.at(`/${name}`);
  await eventually(`${String(arrivals.length)} events`, () => received.length >= arrivals.length, {
    otherwise: () => received,
  });
  // Events of one batch may overtake each other.
  const sorted = [...received].sort((a, b) => (a.id < b.id ? -1 : 1));
  arrivals.forEach((arrival, index) => {
    expectArrival(sorted[index], arrival);
  });
}

describe('a recorded request', () => {
  const recorded = readdirSync(FOLDER).map((file) => file.replace(/\.http$/, ''));

  test('of each kind is known', () => {
    expect(Object.keys(RECORDINGS).sort()).toEqual(recorded.sort());
  });

  test.each(Object.entries(RECORDINGS))('of %s is taken', async (name, arrivals) => {
    const { statuses } = await replay(program.url, readFileSync(join(FOLDER, `${name}.http`)));
    expect(statuses.at(-1)).toBe(202);
    await expectAt(name, arrivals);
  });
});

describe.each([
  ['attributes and headers', ATTRIBUTE_ROWS],
  ['bodies and their ways', BODY_ROWS],
])('a request with unusual %s', (_topic, rows) => {
  test.each(rows)('$title', async ({ name, request, statuses, arrivals, ...options }) => {
    const replayed = await replay(program.url, request, options);
    expect(replayed).toMatchObject({ statuses });
    await expectAt(name, arrivals);
  });
});

describe('the SDK for JavaScript', () => {
  test.each(SDK_ROWS)('$title', async ({ name, send, arrivals }) => {
    expect(await send(`${program.url}/senders/${name}`)).toBe(202);
    await expectAt(name, arrivals);
  });
});

// Elsewhere the recordings have to do.
(HAS_CURL ? describe : describe.skip)('curl', () => {
  test.each(CURL_COMMANDS)('$name', async ({ name, args }) => {
    const url = `${program.url}/senders/${live(name)}`;
    const child = spawn('curl', ['-sS', '-w', '%{http_code}', url, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [status] = await Promise.all([text(child.stdout), once(child, 'close')]);
    expect(status).toBe('202');
    await expectAt(live(name), RECORDINGS[name] ?? []);
  });
});

test('nothing else arrived, and nothing of this was a fault of the program', async () => {
  await program.idle();
  const arrived = Object.fromEntries(
    [...expected.keys()].map((name) => [name, subscriber.at(`/${name}`).length]),
  );
  expect(arrived).toEqual(Object.fromEntries(expected));
  expect(subscriber.received).toHaveLength([...expected.values()].reduce((a, b) => a + b, 0));
  expect(program.complaints).toEqual([]);
});
