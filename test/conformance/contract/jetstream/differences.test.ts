/**
 * What is different on JetStream on purpose. Everything else in this folder and in test/e2e/jetstream is what it is on the
 * embedded log: the same tests, loaded again. Each row has its reason, and a check that it is so, since whoever changes it
 * has to change what documents say.
 *
 * What is not here: waits.test.ts and document.test.ts ask nothing of a real log; the time of a server cannot be simulated, and
 * that it keeps delays is tested by the suite of all event logs (test/broker/log-jetstream.test.ts).
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { jetStream } from '../../../e2e/engine.ts';
import { eventually, pause } from '../../../e2e/eventually.ts';
import { broker, trigger, yamlOf } from '../../../e2e/manifests.ts';
import { payloadFilesOf } from '../../../e2e/payload-files.ts';
import { send, type Answered } from '../../../e2e/producer.ts';
import type { Program } from '../../../e2e/program.ts';
import { openStage } from '../../../e2e/stage.ts';
import { HANG, type Received, type Subscriber } from '../../../e2e/subscriber.ts';
import { openNats, type Nats } from '../../../servers/nats.ts';

interface Scene {
  readonly program: Program;
  readonly subscriber: Subscriber;
  readonly server: Nats;
  /** The events of this row at the subscriber. */
  at(): readonly Received[];
  /** Sends one to the Broker of this row. */
  send(id: string, body?: Uint8Array): Promise<Answered>;
}

interface Difference {
  readonly name: string;
  readonly what: string;
  readonly why: string;
  check(scene: Scene): Promise<void>;
}

/** In a row that is about waiting: far beyond what a delivery takes. */
const LONG_MS = 1_000;
const MB = 1_000_000;
/** Of a payload that there may be. */
const ID = 'default/2026050408/Zm9vYmFyYmF6cXV4MTIzNA';

const DIFFERENCES: readonly Difference[] = [
  {
    name: 'durable-first',
    what: 'nothing is delivered before it is durable',
    why: 'it is the server that gives it to knear, when it has it; the embedded log offers it while its group is written',
    async check({ server, at, send: sendOne }) {
      await server.pause();
      const answering = sendOne('held');
      await pause(LONG_MS);
      expect(at()).toEqual([]);
      server.resume();
      expect((await answering).status).toBe(202);
      await eventually('the event', () => at().length === 1);
    },
  },
  {
    name: 'records',
    what: 'data of more than half a message is kept beside the log, whatever --claim-check-inline-max says',
    why: 'a reply on its way carries what it answers, so two records have to fit into one message of the server',
    async check({ program, at, send: sendOne }) {
      const before = await program.metric('knear_payload_claims_total');
      expect((await sendOne('inline', Buffer.alloc(0.4 * MB))).status).toBe(202);
      expect(await program.metric('knear_payload_claims_total')).toBe(before);
      // The embedded log keeps up to 1 MiB itself.
      expect((await sendOne('claimed', Buffer.alloc(0.6 * MB))).status).toBe(202);
      expect(await program.metric('knear_payload_claims_total')).toBe(before + 1);
      await eventually('both', () => at().length === 2);
    },
  },
  {
    name: 'payloads-stay',
    what: 'large data stays in its folder when its event is delivered',
    why: 'nobody has counted which messages name it, so each may be needed',
    async check({ program, at, send: sendOne }) {
      const before = payloadFilesOf(program);
      await sendOne('large', Buffer.alloc(MB, 'stays'));
      await eventually('the event', () => at().length === 1);
      await program.idle();
      await pause(LONG_MS);
      expect(payloadFilesOf(program)).toHaveLength(before.length + 1);
    },
  },
  ...[['list'], ['sweep', '--force'], ['redact', ID, '--yes']].map((args, index): Difference => ({
    name: `payload-${String(index)}`,
    what: `knear payload ${args.join(' ')} answers KNEAR_PAYLOAD_UNLISTED`,
    why: 'there is no list of payloads to look into, and a guess could remove what an event needs',
    async check({ program }) {
      const ran = await program.command('payload', ...args);
      expect(ran).toMatchObject({ code: 1, stdout: '' });
      expect(ran.stderr).toMatch(/^KNEAR_PAYLOAD_UNLISTED: .*docs\/nats\.md/);
    },
  })),
  {
    name: 'leases-last',
    what: 'what a killed knear was delivering comes again after its lease of 15 s, not at its next start',
    why: 'the server counts leases, and another knear might be holding it',
    async check({ program, subscriber, at, send: sendOne }) {
      subscriber.on('/leases-last', HANG);
      await sendOne('open');
      await eventually('the first attempt', () => at().length === 1);
      await program.crash();
      subscriber.on('/leases-last', () => ({}));
      await program.start();
      await eventually('the second attempt', () => at().length === 2, { withinMs: 25_000 });
      const [first, second] = at();
      expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThan(12_000);
    },
  },
];

let server: Nats;
const stage = openStage({ engine: jetStream(() => server) });
let subscriber: Subscriber;
let program: Program;

beforeAll(async () => {
  server = await openNats();
  subscriber = await stage.subscriber();
  const resources = DIFFERENCES.flatMap(({ name }) => [
    broker(name),
    trigger(name, { broker: name, subscriber: `${subscriber.url}/${name}` }),
  ]);
  program = await stage.start(yamlOf(...resources));
});

afterAll(async () => {
  await stage.close();
  await server.close();
});

test.each(DIFFERENCES)('$what, because $why', async ({ name, check }) => {
  await check({
    program,
    subscriber,
    server,
    at: () => subscriber.at(`/${name}`),
    send: (id, body) => send(`${program.url}/default/${name}`, { id, type: 't' }, body),
  });
});
