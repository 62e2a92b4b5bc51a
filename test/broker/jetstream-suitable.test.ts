/**
 * Goal: a server or an account that cannot keep the log is not taken, and knear says in words what to change. Method: real servers,
 * configured as somebody would; what no server here can be (another version) is asked of the check alone.
 */
import { describe, expect, test } from '@jest/globals';
import type { JetStreamAccountStats } from '@nats-io/jetstream';
import type { ServerInfo } from '@nats-io/transport-node';

import { whyAccountUnsuitable, whyServerUnsuitable } from '../../broker/log/jetstream/suitable.ts';
import { expectObstacle, useAttempts, USER, type Attempt } from './nats-attempts.ts';
import { openChain } from './nats-identities.ts';

const attempts = useAttempts();
const { attempt, fileWith, openServer, openSilent } = attempts;

describe('a server that cannot keep the log', () => {
  test('has no JetStream', async () => {
    const server = await openServer({ jetStream: false });
    await expectObstacle(
      attempt(server),
      'KNEAR_NATS_UNSUITABLE',
      /JetStream is not enabled on the NATS server: add/,
    );
  });

  test('takes only small messages, until its limit is raised', async () => {
    const server = await openServer({ config: 'max_payload: 64KB' });
    const tried = attempt(server);
    const words = /at most 65536 bytes: knear needs 262144, raise max_payload/;
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', words);
    server.config('max_payload: 256KB');
    await server.reload();
    expect((await tried.link).info.payloadMaxBytes).toBe(262_144);
  });

  test('is none at all', async () => {
    const other = await openSilent('HTTP/1.1 400 Bad Request\r\n\r\n');
    const tried = attempt(other.url);
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /no NATS server/);
  });

  const account = (jetstream: string, permissions = '') => `
    accounts { SHOP { ${jetstream}, users: [ { user: shop, password: s3cret ${permissions} } ] } }`;

  async function attemptAs(config: string): Promise<Attempt> {
    const server = await openServer({ config });
    return attempt(server, { credentials: { ...USER, passwordFile: fileWith('s3cret') } });
  }

  test.each([
    ['no JetStream', 'jetstream: disabled', /not enabled for the account of knear/],
    [
      'no room on the disk',
      'jetstream { max_file: 0, max_mem: 1G }',
      /may keep nothing on the disk/,
    ],
    [
      'a demand for max_bytes',
      'jetstream { max_bytes_required: true }',
      /demands max_bytes of each stream.*schedules/,
    ],
    [
      'a limit for consumers',
      'jetstream { max_consumers: 10 }',
      /may have 10 consumers.*max_consumers/,
    ],
    [
      'a limit for messages under way',
      'jetstream { max_ack_pending: 100 }',
      /may have 100 messages under way/,
    ],
  ])('has an account with %s', async (_name, jetstream, words) => {
    await expectObstacle(await attemptAs(account(jetstream)), 'KNEAR_NATS_UNSUITABLE', words);
  });

  test('has an account that has as many streams as it may, unless some are those of knear', async () => {
    const limited = await attemptAs(account('jetstream { max_streams: 1 }'));
    const { jsm, nc } = await limited.link;
    await jsm.streams.add({ name: 'other', subjects: ['other.>'] });
    const server = nc.getServer();
    const again = () =>
      attempt(`nats://${server}`, { credentials: { ...USER, passwordFile: fileWith('s3cret') } });
    await expectObstacle(again(), 'KNEAR_NATS_UNSUITABLE', /may have 1 streams and has as many/);
    await jsm.streams.delete('other');
    await jsm.streams.add({ name: 'KN_a', subjects: ['kn.a.>'] });
    await again().link;
  });

  test('has an account with a tier of JetStream for one replica, or without', async () => {
    const tier = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
    const fit = openChain({ jetStream: { tiered_limits: { R1: tier } } });
    const unfit = openChain({ jetStream: { tiered_limits: { R3: tier } } });
    const connectWith = async ({ config, credentials }: typeof fit) =>
      attempt(await openServer({ config }), {
        credentials: { kind: 'jwt', credentialsFile: fileWith(credentials()) },
      });
    await (
      await connectWith(fit)
    ).link;
    await expectObstacle(await connectWith(unfit), 'KNEAR_NATS_UNSUITABLE', /one replica/);
  });

  test.each([
    [
      'publish to the API of JetStream',
      'publish: { deny: "$JS.API.>" }',
      /Publish to "\$JS\.API\.INFO".*grant/,
    ],
    [
      'subscribe to its inbox',
      'subscribe: { deny: "_INBOX.>" }',
      /Subscription to "_INBOX\..*grant/,
    ],
  ])('does not let the user %s', async (_name, permissions, words) => {
    const config = account('jetstream: enabled', `, permissions: { ${permissions} }`);
    await expectObstacle(await attemptAs(config), 'KNEAR_NATS_DENIED', words);
  });
});

describe('what a server must be', () => {
  const info = (more: Partial<ServerInfo>) =>
    // The check reads no other field.
    ({ version: '2.12.0', max_payload: 1 << 20, server_name: 'n1', ...more }) as ServerInfo;

  test.each(['2.12.0', '2.12.0-RC.1', '2.13.0-dev', '2.15.2', '3.0.0', 'v2.12.4'])(
    'version %s will do',
    (version) => {
      expect(whyServerUnsuitable(info({ version }))).toBeUndefined();
    },
  );

  test.each(['2.11.9', '2.9.25', '1.4.1', '2.2.12', '0.12.0', '', 'unknown'])(
    'version %s is too old',
    (version) => {
      const why = `The NATS server n1 is of version ${version}: knear needs 2.12 or newer, update it`;
      expect(whyServerUnsuitable(info({ version }))).toBe(why);
    },
  );

  test('256 KiB are just enough', () => {
    expect(whyServerUnsuitable(info({ max_payload: 262_144 }))).toBeUndefined();
    expect(whyServerUnsuitable(info({ max_payload: 262_143 }))).toMatch(/262143 bytes/);
  });

  test('limits of an account that nobody has set are none', () => {
    const limits = {
      max_memory: -1,
      max_storage: -1,
      max_streams: -1,
      max_consumers: 0,
      max_ack_pending: 0,
      memory_max_stream_bytes: 0,
      storage_max_stream_bytes: 0,
      max_bytes_required: false,
    };
    // The check reads no other field.
    const account = { limits, streams: 7 } as JetStreamAccountStats;
    expect(whyAccountUnsuitable(account, { hasStreams: false })).toBeUndefined();
  });
});
