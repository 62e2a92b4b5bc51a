import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { run } from '../../main/knear.ts';
import { packageFolder } from '../../main/settings.ts';
import { CLUSTER_EXPORT } from '../controller/cluster-export.ts';
import { broker, documents, trigger } from '../controller/manifests.ts';

const TO_URI = '  broker: default\n  subscriber: {uri: "http://a/"}\n';
const LOST = trigger('  broker: lost\n  subscriber: {uri: "http://a/"}\n');

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'knear-validate-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function write(name: string, text: string): Promise<void> {
  await writeFile(join(folder, name), text);
}

/** Runs `knear validate` with these words, in the folder. */
async function validate(...args: string[]): Promise<{ code: number; out: string[]; err: string }> {
  let out = '';
  let err = '';
  const code = await run(['validate', ...args], {
    env: {},
    cwd: folder,
    print: (text) => {
      out += text;
    },
    printBytes: () => Promise.reject(new Error('nothing is found but text')),
    complain: (text) => {
      err += text;
    },
    openLogger: () => pino({ level: 'silent' }),
    serve: () => Promise.reject(new Error('nothing is served')),
    stopAsked: () => new Promise(() => undefined),
    input: () => undefined,
    isWatched: { prints: false, complaints: false },
    printsUnread: () => new Promise(() => undefined),
  });
  return { code, out: out.trimEnd().split('\n'), err };
}

describe('what is fine', () => {
  test('is only counted, and ends with 0', async () => {
    await write('a.yaml', documents(broker(), trigger(TO_URI)));
    expect(await validate('.')).toEqual({
      code: 0,
      out: ['.: 2 valid resources, 0 errors, 0 warnings'],
      err: '',
    });
  });

  test.each([
    ['the quickstart', join(packageFolder(), 'config/samples/quickstart')],
    ['an empty folder', '.'],
  ])('is so under --strict, too: %s', async (_, path) => {
    expect(await validate('--strict', path)).toMatchObject({ code: 0, err: '' });
  });

  test('is what a cluster shows', async () => {
    await write('all.yaml', CLUSTER_EXPORT);
    const { code, out } = await validate('all.yaml');
    expect(code).toBe(0);
    expect(out.at(-1)).toMatch(/^all.yaml: 22 valid resources, 0 errors, /);
  });
});

describe('what is not valid', () => {
  test('is told with file, line, resource, field and a suggestion, and ends with 1', async () => {
    await mkdir(join(folder, 'below'));
    await write('below/a.yaml', documents(broker(), trigger(`${TO_URI}  fliter: {}\n`)));
    expect(await validate('.')).toEqual({
      code: 1,
      out: [
        'below/a.yaml:17: Trigger/default/t: spec.fliter: unknown field; did you mean filter?',
        '.: 1 valid resource, 1 error, 0 warnings',
      ],
      err: '',
    });
  });

  test('is told for each fault, file and document without a name', async () => {
    await write('a.yaml', 'a: [');
    await write('b.yaml', documents(broker('b', 'spec: {a: 1, b: 2}'), 'kind: Broker'));
    await write('c.yaml', documents(broker('c'), broker('c')));
    const { code, out } = await validate(folder);
    expect(code).toBe(1);
    expect(out).toEqual([
      expect.stringMatching(new RegExp(`^${folder}/a.yaml:1:5: Flow`)),
      `${folder}/b.yaml:8: apiVersion and kind are needed, as texts`,
      `${folder}/b.yaml:6: Broker/default/b: spec.a: unknown field`,
      `${folder}/b.yaml:6: Broker/default/b: spec.b: unknown field`,
      `${folder}/c.yaml:9: Broker/default/c: already defined at c.yaml:2; this document is ignored`,
      `${folder}: 1 valid resource, 5 errors, 0 warnings`,
    ]);
  });
});

describe('what could not run', () => {
  test('is a warning, and ends with 0', async () => {
    await write('a.yaml', LOST);
    const { code, out } = await validate('.');
    expect(code).toBe(0);
    expect(out).toEqual([
      expect.stringMatching(/^a.yaml:2: warning: Trigger\/default\/t: BrokerDoesNotExist: .*lost/),
      '.: 1 valid resource, 0 errors, 1 warning',
    ]);
  });

  test('ends with 1 under --strict', async () => {
    await write('a.yaml', LOST);
    expect((await validate('.', '--strict')).code).toBe(1);
  });

  test('of a Sequence is told with the part that keeps it from running', async () => {
    const step = '{ref: {apiVersion: v1, kind: Service, name: nobody}}';
    await write(
      'a.yaml',
      `apiVersion: flows.knative.dev/v1\nkind: Sequence\nmetadata: {name: s}\nspec: {steps: [${step}]}\n`,
    );
    const { out } = await validate('.');
    expect(out).toContainEqual(
      expect.stringMatching(
        /^a.yaml:1: warning: Subscription\/default\/s-kn-sequence-0: SubscriberResolveFailed: .*Service\/default\/nobody/,
      ),
    );
    expect(out).toContainEqual(expect.stringMatching(/^a.yaml:1: warning: Sequence\/default\/s: /));
  });

  test('is told beside what is not valid, which is told once', async () => {
    await write('a.yaml', documents(LOST, broker('b', 'spec: {a: 1}')));
    expect((await validate('.')).out).toEqual([
      expect.stringMatching(/^a.yaml:\d+: Broker\/default\/b: spec.a: unknown field$/),
      expect.stringMatching(/^a.yaml:2: warning: /),
      '.: 1 valid resource, 1 error, 1 warning',
    ]);
  });
});

test('an annotation that does nothing is told, and fails nothing', async () => {
  await write('a.yaml', broker('b', '  annotations: {knear.dev/pausd: "true"}'));
  const { code, out } = await validate('--strict', '.');
  expect(code).toBe(0);
  expect(out).toContainEqual(
    'a.yaml:2: info: Broker/default/b: unknown annotation knear.dev/pausd; did you mean knear.dev/paused?',
  );
});

describe('the path', () => {
  test('may be one file, whatever its name, and then no other is read', async () => {
    await write('a.txt', broker('a', 'spce: {}'));
    await write('b.yaml', 'a: [');
    expect((await validate('a.txt')).out).toEqual([
      'a.txt:6: Broker/default/a: spce: unknown field; did you mean spec?',
      'a.txt: 0 valid resources, 1 error, 0 warnings',
    ]);
  });

  test('is shown as it was written', async () => {
    await mkdir(join(folder, 'below'));
    await write('below/a.yaml', broker('a', 'spce: {}'));
    expect((await validate('below')).out[0]).toMatch(/^below\/a.yaml:6: /);
    expect((await validate('below/a.yaml')).out[0]).toMatch(/^below\/a.yaml:6: /);
  });

  test('to nothing is an error with a code', async () => {
    expect(await validate('nowhere')).toEqual({
      code: 1,
      out: [''],
      err: 'KNEAR_RESOURCES_UNREADABLE: nowhere cannot be read (ENOENT); name a folder or a file of resources\n',
    });
  });

  test.each([
    ['is needed', []],
    ['is one', ['a', 'b']],
  ])('%s: else it is wrong usage', async (_, args) => {
    expect(await validate(...args)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^KNEAR_USAGE: /),
    });
  });
});
