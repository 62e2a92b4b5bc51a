/** `knear explain`, the program, asks `knear serve`, the program, what became of an event. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { ENTRY } from './program.ts';
import { eventually } from './eventually.ts';
import { broker, channel, subscription, trigger, yamlOf } from './manifests.ts';
import { binary, send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Subscriber } from './subscriber.ts';

const stage = openStage();
let program: Program;
let subscriber: Subscriber;

beforeAll(async () => {
  subscriber = await stage.subscriber();
  program = await stage.start(resources(subscriber.url));
});

afterAll(() => stage.close());

function resources(url: string): string {
  return yamlOf(
    broker('main'),
    trigger('orders', {
      filters: [{ exact: { type: 'order' } }, { prefix: { source: '/e2e' } }],
      subscriber: `${url}/orders`,
      delivery: {
        retry: 2,
        backoffPolicy: 'linear',
        backoffDelay: 'PT0.05S',
        deadLetterSink: { uri: `${url}/sink` },
      },
    }),
    trigger('invoices', { filter: { type: 'invoice' }, subscriber: `${url}/invoices` }),
    channel('questions'),
    subscription('asks', {
      channel: 'questions',
      subscriber: `${url}/questions`,
      reply: `${url}/answers`,
      delivery: { retry: 1, backoffDelay: 'PT0S', deadLetterSink: { uri: `${url}/sink` } },
    }),
    trigger('eu', { filters: [{ cesql: "region = 'eu'" }], subscriber: `${url}/eu` }),
  );
}

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function explain(...args: string[]): Promise<Ran> {
  const adminUrl = /^health +(\S+)\/readyz$/m.exec(program.output)?.[1] ?? '';
  const given = [ENTRY, 'explain', ...args, '--admin-url', adminUrl];
  return new Promise((resolve) => {
    execFile(process.execPath, given, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

/** Lines, unwrapped, without what differs from run to run: times, ports. */
function plain(text: string): string[] {
  return text
    .replace(/\n {17}(?=\S)/g, ' ')
    .replaceAll(subscriber.url, 'http://s')
    .replaceAll(program.url, 'http://knear')
    .split('\n')
    .map((line) => line.replace(/^ *\+[\d.]+ (ms|s) {2}/, '+  ').trim())
    .map((line) => line.replace(/[\d.]+ (ms|s)(?= ago|$)/, '<time>'))
    .filter((line) => line !== '');
}

describe('an event that was retried, then dead-lettered', () => {
  beforeAll(async () => {
    subscriber.on('/orders', () => ({ status: 503, body: 'secret answer' }));
    const attributes = { id: 'lost 1', type: 'order', subject: 'who' };
    // A space would be encoded on the wire.
    await send(`${program.url}/default/main`, { ...attributes, id: 'lost%201' }, 'secret data');
    await eventually('the dead letter', () => subscriber.at('/sink').length > 0);
    await program.idle();
  });

  test('has a story that says all of it', async () => {
    const { code, stdout, stderr } = await explain('lost 1');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.split('\n').filter((line) => line.length > 100)).toEqual([]);
    expect(plain(stdout)).toEqual([
      'event     lost 1',
      'source    /e2e',
      'type      order',
      'subject   who',
      expect.stringMatching(/^accepted  \d{4}-.*Z, <time> ago; times below count from then$/),
      'broker default/main',
      '+  came in',
      'payload inline, 11 B',
      '+  its producer was answered 202, after <time>',
      'trigger default/orders: DEAD-LETTERED after 3 attempts',
      '+  attempt 1: http://s/orders: answered 503 (KNEAR_REJECTED), took <time>',
      expect.stringMatching(/^waits 50 ms in memory, until \+/),
      '+  attempt 2: http://s/orders: answered 503 (KNEAR_REJECTED), took <time>',
      expect.stringMatching(/^waits 100 ms in memory, until \+/),
      '+  attempt 3: http://s/orders: answered 503 (KNEAR_REJECTED), took <time>',
      '+  attempt 1 at the dead letter sink: http://s/sink: answered 202, took <time>',
      '+  dead-lettered to http://s/sink, because http://s/orders failed: KNEAR_REJECTED, status 503',
      'trigger default/invoices: did not want it',
      'attributes: type is "order", wanted "invoice"',
      'trigger default/eu: did not want it',
      'all[0].cesql: an error or no boolean (region missing in the event): "region = \'eu\'"',
    ]);
  });

  test('has one without data, as JSON', async () => {
    const { stdout } = await explain('lost 1', '--source', '/e2e', '-o', 'json');
    expect(stdout).not.toContain('secret');
    expect(JSON.parse(stdout)).toMatchObject({
      events: [
        {
          id: 'lost 1',
          attributes: { type: 'order', subject: 'who' },
          visits: [
            {
              from: { kind: 'producer' },
              egresses: [
                { name: 'orders', isWanted: true, end: { kind: 'dead-lettered' } },
                { name: 'invoices', isWanted: false },
                { name: 'eu', isWanted: false },
              ],
            },
          ],
        },
      ],
    });
  });
});

test('a reply is followed to where it went, and back', async () => {
  subscriber.on('/invoices', () => ({
    status: 200,
    headers: binary({ id: 'r-1', type: 'receipt' }),
    body: 'thanks',
  }));
  await send(`${program.url}/default/main`, { id: 'i-1', type: 'invoice' });
  await eventually('an end', async () => (await explain('r-1')).code === 0);

  const asked = plain((await explain('i-1')).stdout).join(' ');
  expect(asked).toContain('trigger default/invoices: delivered');
  expect(asked).toContain(
    'replied with event r-1 from /e2e, type receipt, to http://knear/default/main',
  );
  const reply = plain((await explain('r-1')).stdout).join(' ');
  expect(reply).toContain(
    'came in as the reply of trigger default/invoices to event i-1 from /e2e',
  );
  expect(reply).toContain('nobody wanted it');
});

test('retried, then answered, but nobody takes the reply: dead-lettered, with all of it told in order', async () => {
  let asked = 0;
  subscriber.on('/questions', () => {
    asked += 1;
    if (asked === 1) return { status: 500 };
    return { status: 200, headers: binary({ id: 'answer', type: 'answer' }), body: 'yes' };
  });
  subscriber.on('/answers', () => ({ status: 500 }));
  await send(`${program.url}/default/channels/questions`, { id: 'q-1', type: 'question' });
  await eventually('the dead letter', () => subscriber.at('/sink').find(({ id }) => id === 'q-1'));
  await program.idle();
  const lines = plain((await explain('q-1')).stdout);
  expect(lines.slice(lines.indexOf('channel default/questions') + 4)).toEqual([
    'subscription default/asks: DEAD-LETTERED after 2 attempts',
    '+  attempt 1: http://s/questions: answered 500 (KNEAR_REJECTED), took <time>',
    expect.stringMatching(/^waits 0 ms in memory, until \+/),
    '+  attempt 2: http://s/questions: answered 200, took <time>',
    '+  replied with event answer from /e2e, type answer, to http://s/answers',
    'payload inline, 3 B',
    '+  attempt 1 for the reply: http://s/answers: answered 500 (KNEAR_REJECTED), took <time>',
    expect.stringMatching(/^waits 0 ms in memory, until \+/),
    '+  attempt 2 for the reply: http://s/answers: answered 500 (KNEAR_REJECTED), took <time>',
    '+  attempt 1 at the dead letter sink: http://s/sink: answered 202, took <time>',
    '+  dead-lettered to http://s/sink, because http://s/answers failed: KNEAR_REJECTED, status 500',
  ]);
});

test('an event that nobody remembers is one line, with what raises the number', async () => {
  const { code, stdout, stderr } = await explain('nothing');
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(
    /^KNEAR_RESOURCE_UNKNOWN: there is no event nothing among the \d+ .*--explain-events.*\n$/,
  );
});

test('nothing of this was a fault of the program', () => {
  expect(program.complaints).toEqual([]);
});
