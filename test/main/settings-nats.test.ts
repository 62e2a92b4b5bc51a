/** The settings of a log on NATS JetStream: what they come to, what contradicts what, and that no refusal repeats a secret. */
import { describe, expect, test } from '@jest/globals';
import { inspect } from 'node:util';
import { readSettings } from '../../main/settings.ts';
import { SETTING_NAMES, type SettingName } from '../../main/settings-table.ts';

type Flags = Partial<Record<SettingName, string>>;

const nats = 'nats://localhost:4222';

async function natsOf(flags: Flags) {
  const settings = await readSettings({ flags, cwd: '/current' });
  return settings.nats;
}

/** What is said of flags that are refused. */
async function refusalOf(flags: Flags): Promise<unknown> {
  return natsOf(flags).then(
    () => 'none',
    (error: unknown) => error,
  );
}

describe('a log on NATS', () => {
  test('is none unless it is named', async () => {
    expect(await natsOf({})).toBeUndefined();
  });

  test('has a prefix, a size and a careful durability by default, and shows nothing of itself', async () => {
    expect(await natsOf({ nats })).toEqual({
      servers: [nats],
      prefix: 'kn',
      durability: 'process',
      streamMaxBytes: 1_073_741_824,
    });
  });

  test.each([
    ['one server', 'nats://a:4222', ['nats://a:4222']],
    ['the default port', 'nats://a', ['nats://a']],
    ['several', 'nats://a:1,nats://b:2', ['nats://a:1', 'nats://b:2']],
    ['spaces between them', 'nats://a:1, nats://b:2', ['nats://a:1', 'nats://b:2']],
    ['TLS', 'tls://a:4222', ['tls://a:4222']],
    ['a path of nothing', 'nats://a:4222/', ['nats://a:4222']],
    ['an IPv6 address', 'nats://[::1]:4222', ['nats://[::1]:4222']],
    ['capitals', 'NATS://a:4222', ['nats://a:4222']],
  ])('is at %s', async (_name, text, servers) => {
    expect(await natsOf({ nats: text })).toMatchObject({ servers });
  });

  test.each([
    ['nothing', ''],
    ['an empty one of two', 'nats://a:4222,'],
    ['no protocol', 'localhost:4222'],
    ['another protocol', 'ws://localhost:4222'],
    ['no host', 'nats://'],
    ['no slashes', 'nats:localhost:4222'],
    ['a path', 'nats://a:4222/orders'],
    ['a query', 'nats://a:4222?tls=true'],
    ['a port that is none', 'nats://a:70000'],
    ['a host that is none', 'nats://a%20b:4222'],
  ])('is not at %s', async (_name, text) => {
    expect(await refusalOf({ nats: text })).toMatchObject({
      code: 'KNEAR_SETTING_INVALID',
      message:
        '--nats must be nats:// or tls:// with host and port, or several, separated by commas, such as nats://localhost:4222',
    });
  });

  test.each([
    ['a user and a password', 'nats://shop:s3cr3t@a:4222'],
    ['a token', 'nats://s3cr3t@a:4222'],
    ['a password in the second', 'nats://b:4222,nats://shop:s3cr3t@a:4222'],
    ['a password that breaks the URL', 'nats://shop:s3cr3t#@a:4222'],
    ['a password after a protocol that is none', 'shop:s3cr3t@a:4222'],
  ])('does not take %s in a URL, and does not repeat it', async (_name, text) => {
    const refusal = await refusalOf({ nats: text });
    expect(refusal).toMatchObject({
      code: 'KNEAR_SETTING_INVALID',
      message: expect.stringMatching(/^--nats must not contain a user.*--nats-password-file/),
    });
    expect(inspect(refusal, { depth: 9 })).not.toMatch(/s3cr3t|shop/);
  });

  test.each(['kn', 'a', 'team-2', 'abcdefghijklmnop'])('takes the prefix %s', async (prefix) => {
    expect(await natsOf({ nats, natsPrefix: prefix })).toMatchObject({ prefix });
  });

  test.each(['KN', 'a.b', 'a_b', 'a*', 'abcdefghijklmnopq'])(
    'does not take the prefix %s',
    async (prefix) => {
      expect(await refusalOf({ nats, natsPrefix: prefix })).toMatchObject({
        code: 'KNEAR_SETTING_INVALID',
        message: `--nats-prefix ${prefix} must be up to 16 lower-case letters, digits and -`,
      });
    },
  );

  test.each(['process', 'machine'])('takes the durability %s', async (durability) => {
    expect(await natsOf({ nats, natsDurability: durability })).toMatchObject({ durability });
  });

  test('does not take a durability that there is not', async () => {
    expect(await refusalOf({ nats, natsDurability: 'disk' })).toMatchObject({
      code: 'KNEAR_SETTING_INVALID',
      message: '--nats-durability disk must be one of process, machine',
    });
  });
});

describe('credentials', () => {
  test.each<[string, Flags, object]>([
    [
      'a user',
      { natsUser: 'shop', natsPasswordFile: 'p' },
      { kind: 'password', user: 'shop', passwordFile: '/current/p' },
    ],
    ['a token', { natsTokenFile: '/run/t' }, { kind: 'token', tokenFile: '/run/t' }],
    ['an NKey', { natsNkeyFile: 'n' }, { kind: 'nkey', seedFile: '/current/n' }],
    ['a JWT', { natsCredentialsFile: 'c' }, { kind: 'jwt', credentialsFile: '/current/c' }],
  ])('are %s', async (_name, flags, credentials) => {
    expect(await natsOf({ nats, ...flags })).toMatchObject({ credentials });
  });

  test('are never said themselves: all that is secret is the name of a file', () => {
    const names = SETTING_NAMES.filter((name) => /password|token|nkey|credentials|key/i.test(name));
    expect(names).toEqual([
      'natsPasswordFile',
      'natsTokenFile',
      'natsNkeyFile',
      'natsCredentialsFile',
      'natsKeyFile',
    ]);
  });
});

describe('TLS', () => {
  test('has its authority, its certificate, or both', async () => {
    const [caFile, certFile, keyFile] = ['/current/ca', '/current/cert', '/current/key'];
    const pair = { natsCertFile: 'cert', natsKeyFile: 'key' };
    expect(await natsOf({ nats, natsCaFile: 'ca' })).toMatchObject({ tls: { caFile } });
    expect(await natsOf({ nats, ...pair })).toMatchObject({ tls: { certFile, keyFile } });
    expect(await natsOf({ nats, natsCaFile: 'ca', ...pair })).toMatchObject({
      tls: { caFile, certFile, keyFile },
    });
  });
});

describe('what is wrong together', () => {
  const user = { natsUser: 'shop', natsPasswordFile: 'p' };

  test.each<[string, Flags, string]>([
    [
      'a user without password',
      { nats, natsUser: 'shop' },
      '--nats-user needs --nats-password-file as well',
    ],
    [
      'a password without user',
      { nats, natsPasswordFile: 'p' },
      '--nats-password-file needs --nats-user as well',
    ],
    [
      'a certificate without key',
      { nats, natsCertFile: 'c' },
      '--nats-cert-file needs --nats-key-file as well',
    ],
    [
      'a key without certificate',
      { nats, natsKeyFile: 'k' },
      '--nats-key-file needs --nats-cert-file as well',
    ],
    [
      'a user and a token',
      { nats, ...user, natsTokenFile: 't' },
      '--nats-token-file must not be given together with --nats-user: one of them is used',
    ],
    [
      'an NKey and a JWT',
      { nats, natsNkeyFile: 'n', natsCredentialsFile: 'c' },
      '--nats-credentials-file must not be given together with --nats-nkey-file: one of them is used',
    ],
    [
      'a stream that is too small for one record',
      { nats, natsStreamMax: '1023Ki' },
      '--nats-stream-max must not be less than --claim-check-inline-max: there would be no room for one record',
    ],
    [
      'a stream that is too small for attributes',
      { nats, natsStreamMax: '64Ki', claimCheckInlineMax: '0', attributesMax: '65Ki' },
      '--nats-stream-max must not be less than --attributes-max: there would be no room for one record',
    ],
    ['a file without a name', { nats, natsTokenFile: '' }, '--nats-token-file must name a file'],
  ])('%s is refused', async (_name, flags, message) => {
    expect(await refusalOf(flags)).toMatchObject({ code: 'KNEAR_SETTING_INVALID', message });
  });

  test('a stream that is large enough for one record is not', async () => {
    const flags = { nats, natsStreamMax: '64Ki', claimCheckInlineMax: '64Ki' };
    expect(await natsOf(flags)).toMatchObject({ streamMaxBytes: 65_536 });
  });

  test.each(SETTING_NAMES.filter((name) => /^nats./.test(name)))(
    '%s without nats is refused, whatever it says',
    async (name) => {
      expect(await refusalOf({ [name]: 'x' })).toMatchObject({
        code: 'KNEAR_SETTING_INVALID',
        message: expect.stringMatching(/^--nats-[a-z-]+ needs --nats: without it, the log is/),
      });
    },
  );

  test('a refusal says whether flag or variable is to be mended', async () => {
    const env = { KNEAR_NATS: nats, KNEAR_NATS_USER: 'shop' };
    await expect(readSettings({ env, cwd: '/current' })).rejects.toMatchObject({
      message: 'KNEAR_NATS_USER needs --nats-password-file as well',
    });
  });
});

test('variables that Kubernetes sets for a Service called knear-nats are not ours', async () => {
  const env = {
    KNEAR_NATS_PORT: 'tcp://10.0.0.1:4222',
    KNEAR_NATS_SERVICE_HOST: '10.0.0.1',
    KNEAR_NATS_PORT_4222_TCP: 'tcp://10.0.0.1:4222',
  };
  expect((await readSettings({ env, cwd: '/current' })).nats).toBeUndefined();
});
