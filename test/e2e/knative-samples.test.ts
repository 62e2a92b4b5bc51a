/**
 * Goal: whoever follows the samples in config/samples/knative sees what they promise. Method: each folder is served with its
 * own functions, as a user would do it; each command at the top of a file is sent, and every line that it promises has to
 * be printed by the functions, and no other. Only the port differs, so that nothing else on this machine is in the way.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { guard } from './guard.ts';
import { post, type Post } from './producer.ts';
import { ENTRY, type Program } from './program.ts';
import { openStage } from './stage.ts';

const SAMPLES = join(import.meta.dirname, '..', '..', 'config', 'samples', 'knative');
const PORT = '18090';
const DOOR = 'http://localhost:8080';

interface Trial extends Post {
  readonly path: string;
  /** What the functions print, as the file says it. */
  readonly lines: readonly string[];
}

/** The commands in the comments of a file, each with the lines that follow it. */
function trialsIn(text: string): Trial[] {
  const comments = text
    .split('\n')
    .filter((line) => line.startsWith('# '))
    .map((line) => line.slice(2))
    .join('\n')
    .replaceAll('\\\n', ' ');
  const [, ...commands] = comments.split(/^ {2}(?=curl )/m);
  return commands.map((command) => {
    const [call = '', ...rest] = command.split('\n');
    const words = [...call.matchAll(/'([^']*)'|(\S+)/g)].map(
      ([, quoted, plain]) => quoted ?? plain,
    );
    const valuesOf = (flag: string) =>
      words.flatMap((word, index) => (word === flag ? [words[index + 1] ?? ''] : []));
    const url = words.find((word) => word?.startsWith(DOOR)) ?? '';
    return {
      path: url.slice(DOOR.length),
      headers: Object.fromEntries(
        valuesOf('-H').map((line) => /^([^:]+): (.*)$/.exec(line)?.slice(1) ?? []),
      ) as Record<string, string>,
      body: valuesOf('-d').join(''),
      lines: rest.filter((line) => line.startsWith('  /')).map((line) => line.trim()),
    };
  });
}

/** The program that the samples come with; prints a line for each request. */
async function startFunctions() {
  const child = spawn(process.execPath, [join(SAMPLES, 'functions.js'), '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const guarding = guard({ pid: child.pid ?? 0 });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const port = await eventually(
    'the functions',
    () => /^functions at http:\/\/127\.0\.0\.1:(\d+)$/m.exec(output)?.[1],
  );
  return {
    port,
    lines: () => output.split('\n').filter((line) => line.startsWith('/')),
    stop() {
      child.kill('SIGKILL');
      guarding.dismiss();
    },
  };
}

/** What is said of samples that are as they should be. */
const REMARKS: Readonly<Record<string, readonly string[]>> = {
  brokers: ['class MTChannelBasedBroker'],
};

const THEMES = ['brokers', 'filters', 'delivery', 'channels', 'sequences', 'parallels'].map(
  (theme) => ({
    theme,
    files: readdirSync(join(SAMPLES, theme))
      .sort()
      .map((file) => ({ file, text: readFileSync(join(SAMPLES, theme, file), 'utf8') })),
  }),
);

test('the folders are these', () => {
  const folders = readdirSync(SAMPLES, { withFileTypes: true }).filter((each) =>
    each.isDirectory(),
  );
  expect(folders.map(({ name }) => name).sort()).toEqual(THEMES.map(({ theme }) => theme).sort());
});

describe.each(THEMES)('the samples of $theme', ({ theme, files }) => {
  const stage = openStage();
  let program: Program;
  let functions: Awaited<ReturnType<typeof startFunctions>>;

  beforeAll(async () => {
    functions = await startFunctions();
    program = stage.program('');
    for (const { file, text } of files) {
      program.write(file, text.replaceAll(PORT, functions.port));
    }
    await program.start();
  });

  afterAll(async () => {
    functions.stop();
    await stage.close();
  });

  test('load without a problem, and everything is ready', async () => {
    const { status, stdout } = spawnSync(
      process.execPath,
      [ENTRY, 'validate', '--strict', join(SAMPLES, theme)],
      { encoding: 'utf8' },
    );
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: expect.stringMatching(/: \d+ valid resources, 0 errors, 0 warnings\n$/),
    });
    const statuses = await program.statuses();
    expect(statuses.length).toBeGreaterThan(2);
    expect(statuses.filter(({ isReady }) => !isReady)).toEqual([]);
    expect(statuses.flatMap(({ infos }) => infos)).toEqual(
      (REMARKS[theme] ?? []).map((remark) => expect.stringContaining(remark)),
    );
  });

  test('all tell how to try them', () => {
    const silent = files.filter(({ text }) => trialsIn(text).length === 0).map(({ file }) => file);
    expect(silent).toEqual(['0-functions.yaml']);
  });

  test.each(
    files.flatMap(({ file, text }) =>
      trialsIn(text).map((trial) => ({ ...trial, file, id: trial.headers['ce-id'] ?? '' })),
    ),
  )('do what they promise: $file, event $id', async ({ path, lines, ...sent }) => {
    const before = functions.lines().length;
    const { status } = await post(program.url + path, sent);
    expect(status).toBe(202);
    const printed = () => functions.lines().slice(before);
    await eventually('all lines', () => printed().length >= lines.length, { otherwise: printed });
    await program.idle();
    expect(printed().sort()).toEqual([...lines].sort());
  });

  test('make no trouble', () => {
    expect(program.complaints).toEqual([]);
  });
});
