/**
 * Goal: knear shows a NATS server what its files have, reads them anew when they change, and never says a secret. Method: real servers
 * that want to be shown something, and all that leaves `connectNats` is searched (`nats-attempts.ts`).
 */
import { describe, expect, test } from '@jest/globals';
import { nkeys } from '@nats-io/transport-node';
import { rmSync } from 'node:fs';
import { join } from 'node:path';

import type { NatsOptions } from '../../broker/log/jetstream/connection.ts';
import { eventually } from '../e2e/eventually.ts';
import { expectObstacle, expectUsable, useAttempts, USER } from './nats-attempts.ts';
import { openChain } from './nats-identities.ts';

const attempts = useAttempts();
const { attempt, everythingSaid, fileWith, openServer } = attempts;

describe('credentials', () => {
  test('a user with a password gets in; another password does not, until the file has the right one', async () => {
    const server = await openServer({
      config: 'authorization { user: shop, password: "pa55 w0rd" }',
    });
    const passwordFile = fileWith('wr0ng-s3cret\n');
    const tried = attempt(server, { credentials: { ...USER, passwordFile } });
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', /Authorization Violation.*compare/i);
    fileWith('pa55 w0rd\n');
    await expectUsable(await tried.link);
    expect(tried.waiting).toHaveLength(1);
    expect(await everythingSaid(tried)).not.toMatch(/wr0ng|pa55/);
  });

  test('a token gets in, another does not', async () => {
    const server = await openServer({ config: 'authorization { token: t0ken-of-knear }' });
    const tokenFile = fileWith('t0ken-of-others');
    const tried = attempt(server, { credentials: { kind: 'token', tokenFile } });
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', /Authorization Violation/i);
    fileWith('t0ken-of-knear');
    await expectUsable(await tried.link);
    expect(await everythingSaid(tried)).not.toMatch(/t0ken/);
  });

  test('an NKey gets in, another does not', async () => {
    const [user, other] = [nkeys.createUser(), nkeys.createUser()];
    const server = await openServer({
      config: `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }`,
    });
    const seed = (of: typeof user) => new TextDecoder().decode(of.getSeed());
    const seedFile = fileWith(seed(other));
    const tried = attempt(server, { credentials: { kind: 'nkey', seedFile } });
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', /Authorization Violation/i);
    fileWith(`${seed(user)}\n`);
    await expectUsable(await tried.link);
    const said = await everythingSaid(tried);
    for (const secret of [seed(user), seed(other)]) expect(said).not.toContain(secret);
  });

  test('a JWT gets in; that of an unknown account or one that has expired does not', async () => {
    const chain = openChain();
    const server = await openServer({ config: chain.config });
    const foreign = chain.foreignCredentials();
    const expired = chain.credentials({ expiresAtS: 1_700_000_000 });
    const good = chain.credentials();
    const credentials = { kind: 'jwt' as const, credentialsFile: fileWith(foreign) };
    const one = attempt(server, { credentials });
    await expectObstacle(one, 'KNEAR_NATS_DENIED', /Authorization Violation/i);
    fileWith(expired);
    const two = attempt(server, { credentials });
    await expectObstacle(two, 'KNEAR_NATS_DENIED', /Authorization Violation|expired/i);
    fileWith(good.replaceAll('\n', '\r\n'));
    await expectUsable(await one.link);
    await two.link;
    const said = (await everythingSaid(one)) + (await everythingSaid(two));
    for (const secret of [foreign, expired, good].flatMap((text) => text.split('\n'))) {
      if (secret.length > 40 && !secret.includes('*')) expect(said).not.toContain(secret);
    }
    expect(said).not.toMatch(/\bSU[A-Z2-7]{20}/);
  });

  test('nothing to show does not get in where something is wanted', async () => {
    const server = await openServer({ config: 'authorization { user: shop, password: s3cret }' });
    await expectObstacle(attempt(server), 'KNEAR_NATS_DENIED', /Authorization Violation/i);
  });
});

describe('a file with a secret', () => {
  const seed = new TextDecoder().decode(nkeys.createUser().getSeed());
  const accountSeed = new TextDecoder().decode(nkeys.createAccount().getSeed());

  test.each<[string, string | undefined, (file: string) => Partial<NatsOptions>, string]>([
    [
      'that is missing',
      undefined,
      (passwordFile) => ({ credentials: { ...USER, passwordFile } }),
      'cannot be read (ENOENT)',
    ],
    [
      'that is empty',
      '\n',
      (tokenFile) => ({ credentials: { kind: 'token', tokenFile } }),
      'is empty',
    ],
    [
      'with two lines',
      's3cret\ns3cret2\n',
      (passwordFile) => ({ credentials: { ...USER, passwordFile } }),
      'has more than one line',
    ],
    [
      'that is no seed',
      `${seed}s3cret`,
      (seedFile) => ({ credentials: { kind: 'nkey', seedFile } }),
      'has no valid NKey seed',
    ],
    [
      'with the seed of an account',
      accountSeed,
      (seedFile) => ({ credentials: { kind: 'nkey', seedFile } }),
      'has an NKey seed that is not that of a user',
    ],
    [
      'that is no .creds',
      `${seed}\n`,
      (credentialsFile) => ({ credentials: { kind: 'jwt', credentialsFile } }),
      'is no .creds file',
    ],
    [
      'that is no authority',
      's3cret',
      (caFile) => ({ tls: { caFile } }),
      'has no certificate in PEM form',
    ],
  ])('%s is named, and not quoted', async (_name, text, options, words) => {
    const file = join(attempts.folder, 'secret');
    if (text !== undefined) fileWith(text);
    const tried = attempt('nats://127.0.0.1:1', options(file));
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', '');
    expect(tried.waiting[0]?.message).toContain(`The file ${file} ${words}`);
    const said = await everythingSaid(tried);
    expect(said).not.toMatch(/s3cret|\bS[AU][A-Z2-7]{20}/);
  });

  test('is read anew after the server has changed it, without a restart of knear', async () => {
    const config = (password: string) => `authorization { user: shop, password: "${password}" }`;
    const server = await openServer({ config: config('0ld-s3cret') });
    const passwordFile = fileWith('0ld-s3cret');
    const tried = attempt(server, { credentials: { ...USER, passwordFile } });
    const { js, jsm } = await tried.link;
    await jsm.streams.add({ name: 'KN_test', subjects: ['kn.test.>'] });
    server.config(config('n3w-s3cret'));
    await server.reload();
    const { statuses } = tried;
    await eventually('a refusal', () => statuses.at(-1)?.code === 'KNEAR_NATS_DENIED');
    fileWith('n3w-s3cret');
    await eventually('back', () => statuses.length > 0 && statuses.at(-1) === undefined);
    expect(await js.publish('kn.test.a', 'x')).toMatchObject({ seq: 1 });
    expect(await everythingSaid(tried)).not.toMatch(/s3cret/);
  });
});

test('a file that goes away while the server is away is named, and no end of the trying', async () => {
  const server = await openServer({ config: 'authorization { user: shop, password: s3cret }' });
  const passwordFile = fileWith('s3cret');
  const { link, statuses } = attempt(server, { credentials: { ...USER, passwordFile } });
  await link;
  await server.kill();
  await eventually('lost', () => statuses.at(-1)?.code === 'KNEAR_NATS_AWAY');
  rmSync(passwordFile);
  await eventually('missed', () => statuses.at(-1)?.code === 'KNEAR_NATS_DENIED');
  expect(statuses.at(-1)?.message).toContain(`The file ${passwordFile} cannot be read (ENOENT)`);
  await server.restart();
  // After the second refusal in a row, the client gives up unless it is told not to.
  await eventually('refused', () => server.log.split('authentication error').length > 3);
  fileWith('s3cret');
  await eventually('back', () => statuses.at(-1) === undefined);
});
