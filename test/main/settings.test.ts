import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseSizeBytes } from '../../core/size.ts';
import { packageFolder, readSettings, type SettingSources } from '../../main/settings.ts';
import { rangeOf } from '../../main/setting-ranges.ts';
import {
  flagOf,
  SETTING_NAMES,
  SETTINGS,
  variableOf,
  type SettingRow,
} from '../../main/settings-table.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'knear-settings-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Settings from these sources, with the settings file given as its text. */
async function read({ file, ...sources }: Partial<SettingSources> & { file?: string } = {}) {
  const path = join(folder, 'knear.yaml');
  if (file !== undefined) await writeFile(path, file);
  return readSettings({
    cwd: '/current',
    ...sources,
    flags: { ...(file !== undefined && { settings: path }), ...sources.flags },
  });
}

describe('defaults', () => {
  test('are units of the program: bytes, milliseconds, absolute folders', async () => {
    expect(await read()).toEqual({
      resources: join(packageFolder(), 'config/samples/quickstart'),
      hasSampleFunctions: true,
      data: '/current/.knear',
      host: '127.0.0.1',
      port: 8080,
      adminHost: '127.0.0.1',
      adminPort: 9090,
      logLevel: 'info',
      logSizeMaxBytes: 34_359_738_368,
      logReserveBytes: 268_435_456,
      eventMaxBytes: 268_435_456,
      attributesMaxBytes: 16_384,
      claimCheckStore: 'file',
      claimCheckInlineMaxBytes: 1_048_576,
      claimCheckBatchMaxBytes: 16_777_216,
      claimCheckUploadsMax: 64,
      claimCheckSpoolMaxBytes: 8_589_934_592,
      claimCheckFreeMinBytes: 1_073_741_824,
      claimCheckUploadIdleMs: 30_000,
      claimCheckUploadRateMinBytes: 1024,
      claimCheckUploadMaxMs: 3_600_000,
      claimCheckDeliverIdleMs: 60_000,
      claimCheckCacheMaxBytes: 25_165_824,
      claimCheckCollectIntervalMs: 600_000,
      claimCheckDryRun: false,
      backoffMaxMs: 3_600_000,
      deliverTimeoutMs: 600_000,
      drainMs: 30_000,
      openDeliveriesMax: 1_000,
      openBytesMax: 67_108_864,
      slotsMax: 256,
      vantages: [{}],
      isHopping: false,
      parkedMax: 1_000,
      parkedBytesMax: 67_108_864,
      parkedAgeMs: 604_800_000,
      goneAfterMs: 600_000,
      explainEvents: 1000,
      tracingSampling: 1,
    });
  });

  test('name samples that exist', async () => {
    expect(existsSync((await read()).resources)).toBe(true);
  });

  test('with resources of the user, no sample function is wanted', async () => {
    const settings = await read({ flags: { resources: 'mine' } });
    expect(settings).toMatchObject({ resources: '/current/mine', hasSampleFunctions: false });
  });
});

describe('precedence', () => {
  const file = 'adminPort: 33\nport: 3\nslotsMax: 3\n';
  const env = { KNEAR_ADMIN_PORT: '2', KNEAR_PORT: '2' };

  test('a flag wins over a variable, a variable over the file, the file over the default', async () => {
    const settings = await read({ file, env, flags: { adminPort: '1' } });
    expect(settings).toMatchObject({ adminPort: 1, port: 2, slotsMax: 3, parkedMax: 1000 });
  });

  test('an empty variable counts as not set', async () => {
    expect(await read({ file, env: { KNEAR_PORT: '' } })).toMatchObject({ port: 3 });
  });

  test('the file can be named by a variable, and a flag names another', async () => {
    const other = join(folder, 'other.yaml');
    await writeFile(other, 'port: 4');
    expect(await read({ env: { KNEAR_SETTINGS: other } })).toMatchObject({ port: 4 });
    expect(await read({ file, env: { KNEAR_SETTINGS: other } })).toMatchObject({ port: 3 });
  });

  test('folders start where they were named: in the working directory, or beside the file', async () => {
    const settings = await read({ file: 'data: d\nresources: ../r', flags: { resources: 'r' } });
    expect(settings).toMatchObject({ data: join(folder, 'd'), resources: '/current/r' });
  });
});

describe('values', () => {
  test.each([
    ['plain bytes', 'eventMax', '2048', 'eventMaxBytes', 2048],
    ['Ki', 'eventMax', '64Ki', 'eventMaxBytes', 65_536],
    ['Mi', 'eventMax', '3Mi', 'eventMaxBytes', 3_145_728],
    ['Gi', 'logSizeMax', '1Gi', 'logSizeMaxBytes', 1_073_741_824],
    ['seconds with a fraction', 'drain', 'PT0.25S', 'drainMs', 250],
    ['all parts of a duration', 'parkedAge', 'P1W2DT3H4M5S', 'parkedAgeMs', 788_645_000],
    ['a duration of none', 'drain', 'PT0S', 'drainMs', 0],
    ['the smallest port', 'port', '0', 'port', 0],
    ['the largest port', 'port', '65535', 'port', 65_535],
    ['an IPv6 address', 'host', '::1', 'host', '::1'],
    ['a level', 'logLevel', 'debug', 'logLevel', 'debug'],
    ['a URL', 'tracingEndpoint', 'https://otel:4318', 'tracingEndpoint', 'https://otel:4318/'],
    ['a share', 'tracingSampling', '0.25', 'tracingSampling', 0.25],
    ['none of it', 'tracingSampling', '0', 'tracingSampling', 0],
    ['no data in the log', 'claimCheckInlineMax', '0', 'claimCheckInlineMaxBytes', 0],
    ['a bound of its own', 'claimCheckReplyMax', '1Mi', 'claimCheckReplyMaxBytes', 1_048_576],
    ['a quota', 'claimCheckQuota', '2Gi', 'claimCheckQuotaBytes', 2_147_483_648],
    ['the one store', 'claimCheckStore', 'file', 'claimCheckStore', 'file'],
    ['yes', 'claimCheckDryRun', 'true', 'claimCheckDryRun', true],
    ['no', 'claimCheckDryRun', 'false', 'claimCheckDryRun', false],
  ] as const)('%s', async (_name, setting, text, field, value) => {
    expect(await read({ flags: { [setting]: text } })).toMatchObject({ [field]: value });
    expect(await read({ file: `${setting}: ${text}` })).toMatchObject({ [field]: value });
  });

  test.each([
    ['a port that is too large', 'port', '65536'],
    ['a port with a unit', 'port', '8080/tcp'],
    ['a port below zero', 'port', '-1'],
    ['a count of nothing', 'slotsMax', ''],
    ['a count with a fraction', 'slotsMax', '1.5'],
    ['a count in another notation', 'slotsMax', '1e3'],
    ['a count below its range', 'openDeliveriesMax', '0'],
    ['a decimal unit, which others read as another number', 'eventMax', '1MB'],
    ['a size with a fraction', 'eventMax', '1.5Mi'],
    ['a size beyond its range', 'eventMax', '2Gi'],
    ['a size that is no number', 'eventMax', 'Mi'],
    ['a duration in another notation', 'drain', '30s'],
    ['a duration without a number', 'drain', 'PT'],
    ['a duration with a broken number', 'parkedAge', 'P1DT1.2.3S'],
    ['a duration with something behind', 'drain', 'PT1M or so'],
    ['a duration with something before', 'drain', '-PT1M'],
    ['a duration of unknown length', 'parkedAge', 'P1M'],
    ['a duration that no timer can hold', 'deliverTimeout', 'P25D'],
    ['a level that is none', 'logLevel', 'verbose'],
    ['a host with a space', 'host', 'a b'],
    ['an empty host', 'host', ''],
    ['an empty folder', 'data', ''],
    ['a URL of another kind', 'tracingEndpoint', 'grpc://otel:4317'],
    ['a URL without its kind', 'tracingEndpoint', 'otel:4318'],
    ['an empty URL', 'tracingEndpoint', ''],
    ['a share in per cent', 'tracingSampling', '10%'],
    ['more than all', 'tracingSampling', '1.01'],
    ['less than nothing', 'tracingSampling', '-0.1'],
    ['a share without digits before the point', 'tracingSampling', '.5'],
    ['another store', 'claimCheckStore', 's3'],
    ['a store for tests', 'claimCheckStore', 'memory'],
    ['a store that somebody else runs', 'claimCheckStore', 'nats'],
    ['records that no log should keep', 'claimCheckInlineMax', '1025Ki'],
    ['a batch that no request may hold', 'claimCheckBatchMax', '65Mi'],
    ['a spool that is too small for one event', 'claimCheckSpoolMax', '2Gi'],
    ['no uploads at all', 'claimCheckUploadsMax', '0'],
    ['no progress at all', 'claimCheckUploadRateMin', '0'],
    ['yes in another word', 'claimCheckDryRun', 'yes'],
    ['neither yes nor no', 'claimCheckDryRun', ''],
  ] as const)('%s is refused, with the flag and what it may be', async (_name, setting, text) => {
    await expect(read({ flags: { [setting]: text } })).rejects.toMatchObject({
      code: 'KNEAR_SETTING_INVALID',
      message: expect.stringMatching(new RegExp(`^${flagOf(setting)} .*must`)),
    });
  });

  test('a bad value says whether flag, variable or file is to be mended', async () => {
    const invalid = { code: 'KNEAR_SETTING_INVALID' };
    await expect(read({ env: { KNEAR_PORT: 'x' } })).rejects.toMatchObject({
      ...invalid,
      message: 'KNEAR_PORT x must be a whole number from 0 to 65535',
    });
    await expect(read({ file: 'port: x' })).rejects.toMatchObject({
      ...invalid,
      message: `${join(folder, 'knear.yaml')}: port x must be a whole number from 0 to 65535`,
    });
  });

  test('a store that is not there yet is refused with the one that is', async () => {
    await expect(read({ env: { KNEAR_CLAIM_CHECK_STORE: 's3' } })).rejects.toMatchObject({
      code: 'KNEAR_SETTING_INVALID',
      message: 'KNEAR_CLAIM_CHECK_STORE s3 must be file: there is no other store yet',
    });
  });

  test.each([
    [
      'data in the log that no event may have',
      { claimCheckInlineMax: '64Ki', eventMax: '63Ki' },
      '--claim-check-inline-max must not be more than --event-max: ',
    ],
    [
      'an event that no quota takes',
      { claimCheckQuota: '255Mi' },
      '--event-max must not be more than --claim-check-quota: ',
    ],
    [
      'a reply that no quota takes',
      { claimCheckQuota: '2Mi', eventMax: '1Mi', claimCheckReplyMax: '3Mi' },
      '--claim-check-reply-max must not be more than --claim-check-quota: ',
    ],
    ['one port for the door and the admin server', { adminPort: '8080' }, '--port'],
  ])('%s is refused', async (_name, flags, named) => {
    await expect(read({ flags })).rejects.toMatchObject({
      code: 'KNEAR_SETTING_INVALID',
      message: expect.stringContaining(named),
    });
  });

  test('small events alone are no contradiction: the log keeps all of their data', async () => {
    const settings = await read({ flags: { eventMax: '1Ki' } });
    expect(settings).toMatchObject({ eventMaxBytes: 1024, claimCheckInlineMaxBytes: 1_048_576 });
  });

  test('what is held at a time may be less than an event: the store keeps its data', async () => {
    const flags = { eventMax: '1Gi', openBytesMax: '2Mi' };
    expect(await read({ flags })).toMatchObject({ openBytesMax: 2_097_152 });
  });

  test.each(['claimCheckInlineMax', 'attributesMax'] as const)(
    'what is held at a time is never less than a record with the largest %s',
    (name) => {
      const least = parseSizeBytes(SETTINGS.openBytesMax.min) ?? 0;
      expect(parseSizeBytes(SETTINGS[name].max)).toBeLessThan(least);
    },
  );

  test('two free ports are no contradiction', async () => {
    expect(await read({ flags: { port: '0', adminPort: '0' } })).toMatchObject({ port: 0 });
  });
});

describe('unknown names', () => {
  test.each([
    ['a variable', { env: { KNEAR_PROT: '1' } }, 'Did you mean KNEAR_PORT?'],
    ['an empty variable', { env: { KNEAR_PROT: '' } }, 'Did you mean KNEAR_PORT?'],
    ['a key in the file', { file: 'admin-port: 1' }, 'Did you mean adminPort?'],
    ['a key in the file that is like nothing', { file: 'x1y2z3: 1' }, 'knear --help'],
    ['a settings file inside the settings file', { file: 'settings: x' }, 'setting settings'],
  ])('%s is refused, with the nearest one', async (_name, sources, hint) => {
    await expect(read(sources)).rejects.toMatchObject({
      code: 'KNEAR_SETTING_UNKNOWN',
      message: expect.stringContaining(hint),
    });
  });

  test.each([
    ['KNEAR_PORT', 'tcp://10.0.0.1:8080'],
    ['KNEAR_ADMIN_PORT', 'tcp://10.0.0.1:9090'],
    ['KNEAR_SERVICE_HOST', '10.0.0.1'],
    ['KNEAR_SERVICE_PORT', '8080'],
    ['KNEAR_INGRESS_SERVICE_PORT_HTTP', '8080'],
    ['KNEAR_PORT_8080_TCP', 'tcp://10.0.0.1:8080'],
    ['KNEAR_PORT_8080_TCP_PROTO', 'tcp'],
  ])('%s as Kubernetes sets it for a Service called knear is not ours', async (name, text) => {
    expect(await read({ env: { [name]: text } })).toMatchObject({ port: 8080, adminPort: 9090 });
  });

  test('variables of others are nobody’s business', async () => {
    expect(await read({ env: { PORT: '1', KNEARBY: 'x' } })).toMatchObject({ port: 8080 });
  });
});

describe('the settings file', () => {
  test.each([
    ['an empty file', ''],
    ['nothing but a comment', '# port: 1\n'],
  ])('%s changes nothing', async (_name, file) => {
    expect(await read({ file })).toMatchObject({ port: 8080 });
  });

  test.each([
    ['broken YAML', 'port: 1\n  data: "x', /is not valid YAML: .* at line \d/],
    ['a key twice', 'port: 1\nport: 2', /is not valid YAML/],
    ['a list', '- port', /must be a YAML map/],
    ['a text', 'port', /must be a YAML map/],
    ['a list as a value', 'port: [1, 2]', /port must be one value/],
    ['a key without value', 'port:', /port .*must be a whole number/],
  ])('%s is refused', async (_name, file, message) => {
    await expect(read({ file })).rejects.toMatchObject({
      code: 'KNEAR_SETTING_INVALID',
      message: expect.stringMatching(message),
    });
  });

  test('a missing file is an error with its cause', async () => {
    await expect(read({ flags: { settings: 'nowhere.yaml' } })).rejects.toMatchObject({
      code: 'KNEAR_SETTING_INVALID',
      message: expect.stringContaining('/current/nowhere.yaml'),
      cause: { code: 'ENOENT' },
    });
  });
});

describe('where it is', () => {
  const readWith = (flags: Record<string, string>) => read({ flags });

  test('pod, node and zone make one place', async () => {
    const { vantages } = await readWith({ pod: 'u-1', node: 'n-1', zone: 'z-1' });
    expect(vantages).toEqual([{ pod: 'u-1', node: 'n-1', zone: 'z-1' }]);
  });

  test('places make several', async () => {
    const { vantages } = await readWith({ places: 'z-1/n-1/u-1, z-1/n-2,z-2/n-3' });
    expect(vantages).toEqual([
      { zone: 'z-1', node: 'n-1', pod: 'u-1' },
      { zone: 'z-1', node: 'n-2' },
      { zone: 'z-2', node: 'n-3' },
    ]);
  });

  test.each(['', 'z-1', 'z-1/', '/n-1', 'z-1/n-1/u-1/x', 'z-1/n-1,,z-2/n-2', 'z 1/n-1'])(
    'places that are no places are refused: %j',
    async (places) => {
      await expect(readWith({ places })).rejects.toThrow('must be ZONE/NODE');
    },
  );

  test('places beside a place are a contradiction', async () => {
    await expect(readWith({ places: 'z-1/n-1', node: 'n-1' })).rejects.toThrow('beside places');
  });

  test('local hops are on with NATS, off without, and as one says', async () => {
    expect((await readWith({})).isHopping).toBe(false);
    expect((await readWith({ nats: 'nats://127.0.0.1:4222' })).isHopping).toBe(true);
    expect((await readWith({ localHop: 'chain' })).isHopping).toBe(true);
    expect((await readWith({ nats: 'nats://127.0.0.1:4222', localHop: 'off' })).isHopping).toBe(
      false,
    );
    await expect(readWith({ localHop: 'on' })).rejects.toThrow('must be one of chain, off');
  });
});

describe('docs/settings.md', () => {
  test('has one row for each setting, as the table says it', async () => {
    const docs = await readFile(join(packageFolder(), 'docs/settings.md'), 'utf8');
    const rows = docs.split('\n').filter((line) => line.startsWith('| `'));
    expect(rows).toEqual(SETTING_NAMES.map(rowOf));
  });

  test('promises a default and bounds that the setting itself accepts', async () => {
    for (const name of SETTING_NAMES) {
      const { min, max, default: fallback } = SETTINGS[name] as SettingRow;
      for (const text of [min, max, fallback]) {
        if (text === undefined) continue;
        await read({
          flags: {
            ...(name === 'port' && { adminPort: '1' }),
            ...(name === 'claimCheckQuota' && { eventMax: '1Ki' }),
            ...(name.startsWith('nats') && { nats: 'nats://localhost:4222' }),
            ...(name === 'natsStreamMax' && { claimCheckInlineMax: '64Ki' }),
            [name]: text,
          },
        });
      }
    }
  });
});

function rowOf(name: (typeof SETTING_NAMES)[number]): string {
  const { default: fallback, defaultText, help } = SETTINGS[name] as SettingRow;
  const cells = [
    `\`${name}\``,
    `\`${flagOf(name)}\``,
    `\`${variableOf(name)}\``,
    fallback === undefined ? defaultText : `\`${fallback}\``,
    rangeOf(name),
    help,
  ];
  return `| ${cells.join(' | ')} |`;
}
