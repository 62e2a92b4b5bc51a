/**
 * Goal: the user of knear on a NATS server needs the permissions that docs/nats.md names, and none of them less. Method: one real
 * server, an account for each case with a user that has them, or all but one; a course through everything that the log does on the
 * server. The one that is missing has to be told by its step, as KNEAR_NATS_DENIED. Time of the log runs twenty times as fast.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { jetstreamManager, type ConsumerInfo, type JetStreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connectNats, type NatsLink } from '../../broker/log/jetstream/connection.ts';
import { JetStreamLog } from '../../broker/log/jetstream/jetstream-log.ts';
import { codeOf, type KnearError } from '../../core/errors.ts';
import type { Delivery, Interest } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import { eventTo, INTERESTS, parked, reply, workAbout } from '../conformance/event-log/scene.ts';
import { eventually } from '../e2e/eventually.ts';
import { RacingClock } from '../fakes/racing-clock.ts';
import { openNats, type Nats } from '../servers/nats.ts';

const PACE = 20;
const PASSWORD = 'secret';
/** That of the log, and the one that the Channels share: from then on the account is full, and is asked what is there. */
const STREAMS_MAX = 2;

/** What may be published, and what the log cannot do without it. */
const PUBLISH = [
  { subject: '$JS.API.INFO', step: 'connect' },
  { subject: '$JS.API.STREAM.NAMES', step: 'connect again' },
  { subject: '$JS.API.STREAM.LIST', step: 'open' },
  { subject: '$JS.API.STREAM.INFO.*', step: 'open' },
  { subject: '$JS.API.STREAM.CREATE.*', step: 'open' },
  { subject: '$JS.API.STREAM.UPDATE.*', step: 'prepare' },
  { subject: '$JS.API.STREAM.PURGE.*', step: 'change types' },
  { subject: '$JS.API.STREAM.MSG.GET.*', step: 'replay' },
  { subject: '$JS.API.STREAM.MSG.DELETE.*', step: 'drop parked' },
  { subject: '$JS.API.DIRECT.GET.*', step: 'list parked' },
  { subject: '$JS.API.DIRECT.GET.KN_LOG.>', step: 'open again' },
  { subject: '$JS.API.CONSUMER.LIST.*', step: 'open again' },
  { subject: '$JS.API.CONSUMER.INFO.*.*', step: 'change types' },
  { subject: '$JS.API.CONSUMER.DURABLE.CREATE.*.*', step: 'prepare' },
  { subject: '$JS.API.CONSUMER.DELETE.*.*', step: 'change types' },
  { subject: '$JS.API.CONSUMER.MSG.NEXT.*.*', step: 'pull' },
  { subject: '$JS.ACK.>', step: 'settle' },
  { subject: 'kn.>', step: 'append' },
  { subject: 'kn_log.>', step: 'prepare' },
] as const;
/** What may be subscribed to. */
const SUBSCRIBE = [{ subject: '_INBOX.>', step: 'connect' }] as const;

const CASES = [
  ...PUBLISH.map((each) => ({ ...each, way: 'publish' })),
  ...SUBSCRIBE.map((each) => ({ ...each, way: 'subscribe' })),
];
/** Of users who have all, and one each who has all but that of the case. */
const USERS = ['all', 'hold', ...CASES.map((_, index) => `without-${index}`)];

const closers: (() => Promise<void> | void)[] = [];
let server: Nats;
let folder: string;
let passwordFile: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'knear-permissions-'));
  passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, PASSWORD);
  const accounts = USERS.map((user) => {
    const left = CASES.filter((_, index) => user !== `without-${index}`);
    const listOf = (way: string) =>
      JSON.stringify(left.filter((each) => each.way === way).map(({ subject }) => subject));
    // An empty list allows all.
    const subscribe =
      user === `without-${CASES.length - 1}` ? '{ deny: ">" }' : listOf('subscribe');
    return `${user}: {
      jetstream: { max_streams: ${STREAMS_MAX} }
      users: [
        { user: ${user}, password: ${PASSWORD}
          permissions: { publish: ${listOf('publish')}, subscribe: ${subscribe} } }
        { user: ${user}-admin, password: ${PASSWORD} }
      ]
    }`;
  });
  server = await openNats({ config: `accounts: {\n${accounts.join('\n')}\n}` });
}, 200_000);

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

afterEach(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
});

/** Who may do everything in the account. */
async function adminOf(user: string): Promise<JetStreamManager> {
  const nc = await connect({ servers: server.url, user: `${user}-admin`, pass: PASSWORD });
  closers.push(() => nc.close());
  return jetstreamManager(nc);
}

/** A run of the log as one user, step by step. */
class Course {
  readonly happenings: Happening[] = [];
  readonly #user: string;
  readonly #clock = new RacingClock(PACE);
  readonly #trouble: KnearError[] = [];
  #link: NatsLink | undefined;
  #log: JetStreamLog | undefined;
  #step = '';

  constructor(user: string) {
    this.#user = user;
    closers.push(() => this.close());
  }

  get log(): JetStreamLog {
    if (!this.#log) throw new Error('it is not open');
    return this.#log;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** @returns the step that failed and how, or that nothing did */
  async run(steps: Readonly<Record<string, () => Promise<unknown>>>): Promise<unknown> {
    for (const [step, run] of Object.entries(steps)) {
      this.#step = step;
      const failure = await this.#failureOf(run);
      if (failure !== undefined) return { step, code: codeOf(failure) ?? String(failure) };
    }
    return { step: 'none' };
  }

  /** What it fails with, or what the connection says meanwhile, which may be all that is to be had. */
  async #failureOf(run: () => Promise<unknown>): Promise<unknown> {
    const ran = run().then(
      () => ({ error: undefined }),
      (error: unknown) => ({ error }),
    );
    let isOver = false;
    const told = eventually(`the end of ${this.#step}`, () => isOver || this.#trouble.length > 0, {
      withinMs: 25_000,
    });
    try {
      const first = await Promise.race([ran, told.then(() => ({ error: this.#trouble[0] }))]);
      return first.error ?? this.#trouble[0];
    } finally {
      isOver = true;
      await told;
    }
  }

  async connect(): Promise<void> {
    const obstacle = new AbortController();
    this.#link = await connectNats({
      servers: [server.url],
      prefix: 'kn',
      credentials: { kind: 'password', user: this.#user, passwordFile },
      clock: this.#clock,
      signal: obstacle.signal,
      onWaiting: (error) => {
        obstacle.abort(error);
      },
      onStatus: (trouble) => {
        if (trouble) this.#trouble.push(trouble);
      },
    });
  }

  async open(): Promise<void> {
    if (!this.#link) throw new Error('it is not connected');
    const wants = (egressId: string, event: Delivery['event']) =>
      String(event.attributes.get('to')).split(' ').includes(egressId);
    this.#log = await JetStreamLog.open({
      ...this.#link,
      match: (_, event) => ({
        egressIds: INTERESTS.map(({ egressId }) => egressId).filter((id) => wants(id, event)),
        isEarly: false,
      }),
      wants: (egressId, _, event) => wants(egressId, event),
      clock: this.#clock,
      observer: { observe: (happening) => this.happenings.push(happening) },
      durability: 'process',
      limits: {
        streamMaxBytes: 1 << 30,
        parkedMax: 1_000,
        parkedBytesMax: 1 << 26,
        parkedAgeMs: 7 * 86_400_000,
      },
      prefix: 'kn',
      server: { pace: PACE, wallMs: (atMs) => this.#clock.realWallMs(atMs) },
    });
  }

  async pull(egressId: string, count: number): Promise<Delivery[]> {
    const deliveries: Delivery[] = [];
    const { signal } = new AbortController();
    while (deliveries.length < count) {
      deliveries.push(...(await this.log.pull(egressId, count - deliveries.length, { signal })));
    }
    return deliveries;
  }

  async close(): Promise<void> {
    await this.#log?.close();
    await this.#link?.close();
    this.#log = undefined;
    this.#link = undefined;
  }
}

const append = (course: Course, to: string, ...ids: string[]) =>
  course.log.append(
    'orders',
    ids.map((id) => eventTo(to, id)),
  );

/** Everything that the log does on the server. */
function stepsOf(course: Course, admin: JetStreamManager): Record<string, () => Promise<unknown>> {
  let pulled: Delivery[] = [];
  const consumers = async () => {
    const [stream = ''] = (await admin.streams.names('kn.*.e.>').next()).filter(isOfEvents);
    const all: ConsumerInfo[] = [];
    for await (const each of admin.consumers.list(stream)) if (each.name !== 'hold') all.push(each);
    return { stream, all };
  };
  const settled = () =>
    eventually('settled', async () => {
      const { all } = await consumers();
      return all.every(({ num_ack_pending: open }) => open === 0);
    });
  return {
    connect: () => course.connect(),
    open: () => course.open(),
    prepare: () => course.log.prepare(INTERESTS),
    append: async () => {
      await append(course, 'a', 'one', 'two');
      await append(course, 'b', 'three');
    },
    pull: async () => {
      pulled = await course.pull('a', 2);
    },
    settle: async () => {
      const [one, two] = pulled;
      if (!one || !two) throw new Error('two were pulled');
      const dueAtMs = course.nowMs() + 1_000;
      await one.settle([reply(eventTo('b', 'answer')), workAbout(one.event, { dueAtMs })]);
      await two.settle([parked(two.event, course.nowMs())]);
      await settled();
    },
    'settle what was due later': async () => {
      const [later] = await course.pull('a', 1);
      expect(later).toMatchObject({ attempt: 1 });
      await later?.settle([parked(later.event, course.nowMs())]);
      await settled();
    },
    'list parked': async () => {
      expect(await course.log.parked('a', { limit: 10 })).toHaveLength(2);
    },
    replay: async () => {
      const [entry] = await course.log.parked('a', { limit: 1 });
      expect(await course.log.replay('a', [entry?.position ?? 0])).toBe(1);
      const [again] = await course.pull('a', 1);
      await again?.settle([]);
      await settled();
    },
    'drop parked': async () => {
      const [entry] = await course.log.parked('a', { limit: 1 });
      expect(await course.log.dropParked('a', [entry?.position ?? 0])).toBe(1);
    },
    'change types': async () => {
      await course.log.prepare(INTERESTS.map((each) => withType(each, 'another')));
      // The generation before goes when it has nothing left to give.
      await eventually('the new generation alone', async () => {
        const { all } = await consumers();
        return all.filter(({ name }) => name.endsWith('_0')).length <= 1;
      });
    },
    drop: () => course.log.drop('b'),
    'connect again': async () => {
      await course.close();
      // So that there is a gap to be told.
      const { stream, all } = await consumers();
      const lost = all.find(({ config }) => config.metadata?.['knear-egress'] === 'a');
      expect(await admin.consumers.delete(stream, lost?.name ?? '')).toBe(true);
      await course.connect();
    },
    'open again': async () => {
      await course.open();
      expect(course.happenings).toContainEqual(
        expect.objectContaining({ kind: 'log-gap', egressId: 'a' }),
      );
    },
    'append again': async () => {
      await course.log.prepare(INTERESTS);
      await append(course, 'a', 'four');
      const [four] = await course.pull('a', 1);
      await four?.settle([]);
      await settled();
    },
  };
}

const isOfEvents = (name: string) => name !== 'KN_LOG';

function withType({ sources, ...interest }: Interest, type: string): Interest {
  return {
    ...interest,
    sources: sources.map((source) => ({ ...source, types: [...(source.types ?? []), type] })),
  };
}

test('a user with the permissions of docs/nats.md can do all', async () => {
  const course = new Course('all');
  expect(await course.run(stepsOf(course, await adminOf('all')))).toEqual({ step: 'none' });
});

describe('a user without the permission', () => {
  test.each(CASES.map((each, index) => ({ ...each, user: `without-${index}` })))(
    'to $way $subject is told so when it wants to $step',
    async ({ user, step }) => {
      const course = new Course(user);
      const end = await course.run(stepsOf(course, await adminOf(user)));
      expect(end).toEqual({ step, code: 'KNEAR_NATS_DENIED' });
    },
  );
});

describe('docs/nats.md', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/nats.md'), 'utf8');

  test('names these permissions', () => {
    const [, publish = '', subscribe = ''] =
      /^permissions \{\n {2}publish: \[([^\]]*)\]\n {2}subscribe: \[([^\]]*)\]\n\}/m.exec(page) ??
      [];
    const subjects = (list: string) => [...list.matchAll(/"([^"]+)"/g)].map(([, each]) => each);
    expect(subjects(publish)).toEqual(PUBLISH.map(({ subject }) => subject));
    expect(subjects(subscribe)).toEqual(SUBSCRIBE.map(({ subject }) => subject));
  });

  test('tells how to restore the consumer hold', async () => {
    const admin = await adminOf('hold');
    const course = new Course('hold');
    await course.connect();
    await course.open();
    await course.log.prepare(INTERESTS);
    await append(course, 'a', 'one');
    await course.close();
    const [stream = ''] = (await admin.streams.names('kn.*.e.>').next()).filter(isOfEvents);
    await admin.consumers.delete(stream, 'hold');
    const broken = { step: 'open', code: 'KNEAR_LOG_CORRUPT' };
    const steps = { connect: () => course.connect(), open: () => course.open() };
    expect(await course.run(steps)).toEqual(broken);
    await course.close();
    const [, subject = '', text = ''] =
      /'(\$JS\.API\.CONSUMER\.\S+\.hold)' '(.*)'$/m.exec(page) ?? [];
    const named = (words: string) => words.replaceAll('TOKEN', stream.replace(/^KN_/, ''));
    const nc = await connect({ servers: server.url, user: 'hold-admin', pass: PASSWORD });
    closers.push(() => nc.close());
    const answer = await nc.request(named(subject), named(text));
    expect(answer.json()).not.toHaveProperty('error');
    expect(await course.run(steps)).toEqual({ step: 'none' });
    await course.log.prepare(INTERESTS);
    const [one] = await course.pull('a', 1);
    await one?.settle([workAbout(one.event, { dueAtMs: course.nowMs() + 1_000 })]);
    expect(await course.pull('a', 1)).toMatchObject([{ attempt: 1 }]);
  });
});
