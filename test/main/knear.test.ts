import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { KnearError } from '../../core/errors.ts';
import type { Terminal } from '../../main/commands/command.ts';
import { reportFault, run, stopAsked } from '../../main/knear.ts';
import type { Running } from '../../main/serve.ts';
import { packageFolder, packageVersion, type Settings } from '../../main/settings.ts';
import { flagOf, SETTING_NAMES, SETTINGS, type SettingRow } from '../../main/settings-table.ts';

describe('the program', () => {
  test('--help explains every command and every flag with its default', async () => {
    const { code, stdout } = await knear('--help');
    expect(code).toBe(0);
    const words = stdout.replace(/\s+/g, ' ');
    expect(words).toContain('serve [options] Takes events');
    expect(words).toContain('validate [options] <path> Checks resources');
    expect(words).toContain('--strict Fail on warnings');
    expect(words).toContain('get [options] [kind] [name] Shows what became');
    expect(words).toContain('send [options] [to] Sends one event');
    expect(words).toContain('tail [options] [name] Shows the events');
    expect(words).toContain('doctor [options] Looks for what');
    expect(words).toContain('--settings <file> YAML file');
    for (const name of SETTING_NAMES) {
      const { help, default: fallback, defaultText } = SETTINGS[name] as SettingRow;
      expect(words).toMatch(new RegExp(`${flagOf(name)} <\\w+> `));
      expect(words).toContain(`> ${help} (default: ${fallback ?? defaultText ?? ''})`);
    }
  });

  test('serve --help is the same list', async () => {
    const { code, stdout } = await knear('serve', '--help');
    expect(code).toBe(0);
    expect(stdout).toContain('--admin-port <port>');
  });

  test('--version names knear and the Node that runs it', async () => {
    expect(await knear('--version')).toMatchObject({
      code: 0,
      stdout: `knear ${packageVersion()}, Node.js ${process.versions.node}\n`,
      stderr: '',
    });
  });

  test('without a command it shows the help and ends with the code for wrong usage', async () => {
    expect(await knear()).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('Usage: knear'),
    });
  });

  test.each([
    ['an unknown command', ['serv'], /^KNEAR_USAGE: unknown command .*serve/],
    ['an unknown flag', ['serve', '--prot', '1'], /^KNEAR_SETTING_UNKNOWN: .*--prot.*--port/],
    ['a flag without value', ['serve', '--port'], /^KNEAR_USAGE: .*--port.*missing/],
    ['a word too many', ['serve', 'resources'], /^KNEAR_USAGE: .*resources/],
    ['a path that is missing', ['validate'], /^KNEAR_USAGE: .*path/],
    ['an event without a type', ['send'], /^KNEAR_USAGE: .*--type/],
    [
      'two kinds of data',
      ['send', '--type', 'a', '--data', 'a', '--file', 'b'],
      /^KNEAR_USAGE: .*not both/,
    ],
    ['no number of tries', ['send', '--type', 'a', '--retry', '-1'], /^KNEAR_USAGE: --retry -1/],
    [
      'an extension without value',
      ['send', '--type', 'a', '--extension', 'b'],
      /^KNEAR_USAGE: --extension b/,
    ],
    ['an address that is none', ['send', 'ftp://a', '--type', 'a'], /^KNEAR_USAGE: ftp:..a/],
    ['a tail of no name', ['tail', 'a/b/c'], /^KNEAR_USAGE: a.b.c/],
    ['a report of no format', ['doctor', '-o', 'xml'], /^KNEAR_USAGE: .*xml.*text, json/],
    ['a kind that does not exist', ['get', 'brokr'], /^KNEAR_USAGE: .*brokr; did you mean broker/],
    [
      'a format that does not exist',
      ['get', '-o', 'xml'],
      /^KNEAR_USAGE: .*xml.*table, yaml, json/,
    ],
    [
      'a flag of another command',
      ['validate', '--port', '1', '.'],
      /^KNEAR_SETTING_UNKNOWN: .*--port/,
    ],
    ['a value out of range', ['serve', '--port', '99999'], /^KNEAR_SETTING_INVALID: --port 99999 /],
  ])('%s is one line with a code, and exit code 2', async (_name, args, line) => {
    const { code, stdout, stderr } = await knear(...args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(line);
    expect(stderr.trimEnd()).not.toContain('\n');
  });

  test('an unknown variable is refused like a flag', async () => {
    const { code, stderr } = await knear('serve', { KNEAR_PROT: '1' });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^KNEAR_SETTING_UNKNOWN: .*KNEAR_PORT/);
  });
});

test('validate prints on stdout, and its exit code is that of the program', async () => {
  expect(await knear('validate', join(packageFolder(), 'config/crds'))).toEqual({
    code: 0,
    stdout: expect.stringMatching(/config\/crds: 0 valid resources, 0 errors, 0 warnings\n$/),
    stderr: '',
  });
  const settings = join(packageFolder(), 'package.json');
  expect(await knear('validate', settings)).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('package.json:1: apiVersion and kind are needed, as texts\n'),
  });
});

test('get says where it has asked in vain', async () => {
  expect(await knear('get', 'broker', '--admin-url', 'http://127.0.0.1:1')).toEqual({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(
      /^KNEAR_ADMIN_UNREACHABLE: no knear answers at http:..127.0.0.1:1 /,
    ),
  });
});

describe('serve', () => {
  let folder: string;
  let world: FakeTerminal;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'knear-cli-'));
    world = new FakeTerminal();
  });

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const args = (...more: string[]) => ['serve', '--resources', folder, ...more];

  test('runs with the settings that were given, until it is asked to stop', async () => {
    const ended = run(args('--admin-port', '9191'), {
      ...world.terminal,
      env: { KNEAR_PORT: '81' },
    });
    await world.started;
    expect(world.settings).toMatchObject({ resources: folder, port: 81, adminPort: 9191 });
    expect(world.settings?.hasSampleFunctions).toBe(false);
    expect(world.events).toEqual(['serve']);
    world.stop();
    expect(await ended).toBe(0);
    expect(world.events).toEqual(['serve', 'stop']);
  });

  test('prints the banner on stdout, and nothing else', async () => {
    const ended = run(args(), world.terminal);
    await world.started;
    world.stop();
    await ended;
    expect(world.printed).toContain(`knear ${packageVersion()} takes events at http://door`);
    expect(world.printed).toContain('curl -i http://door/default/default');
    expect(world.printed).toContain(`from ${folder}`);
    expect(world.complained).toBe('');
  });

  test('asked to stop while it starts, it stops as soon as it can', async () => {
    world.stop();
    expect(await run(args(), world.terminal)).toBe(0);
    expect(world.events).toEqual(['serve', 'stop']);
  });

  test.each([
    [
      'an error of ours: its code, 1',
      new KnearError('KNEAR_PORT_IN_USE', 'another program\n listens'),
      'KNEAR_PORT_IN_USE: another program listens\n',
      1,
    ],
    [
      'an error of the system: its name, 1',
      Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES', syscall: 'open' }),
      'EACCES: EACCES: permission denied\n',
      1,
    ],
    ['anything else is a fault of ours: 70', new TypeError('x is not a function'), '', 70],
    ['even when nothing was thrown', undefined, '', 70],
  ])('when it cannot start, %s', async (_name, error, line, code) => {
    const serve = () => Promise.reject(error);
    expect(await run(args(), { ...world.terminal, serve })).toBe(code);
    expect(world.complained).toBe(line);
    expect(world.logged.includes('this is a fault of knear')).toBe(code === 70);
  });

  test('when it cannot stop, it says so', async () => {
    const failing = () => Promise.reject(new KnearError('KNEAR_LOG_FAILED', 'the disk is gone'));
    const serve = async () => ({ ...world.running, stop: failing });
    world.stop();
    expect(await run(args(), { ...world.terminal, serve })).toBe(1);
    expect(world.complained).toBe('KNEAR_LOG_FAILED: the disk is gone\n');
  });
});

describe('signals', () => {
  let signals: EventEmitter;
  let exits: number[];
  let nowMs: number;
  let isAsked: boolean;

  beforeEach(() => {
    signals = new EventEmitter();
    exits = [];
    nowMs = 0;
    isAsked = false;
    void stopAsked(signals, { exit: (code) => exits.push(code), nowMs: () => nowMs }).then(() => {
      isAsked = true;
    });
  });

  test.each(['SIGINT', 'SIGTERM'])('%s asks to stop', async (signal) => {
    await Promise.resolve();
    expect(isAsked).toBe(false);
    signals.emit(signal);
    await Promise.resolve();
    expect(isAsked).toBe(true);
    expect(exits).toEqual([]);
  });

  test('one Ctrl-C under npm, which arrives twice, is one', () => {
    signals.emit('SIGINT');
    nowMs = 20;
    signals.emit('SIGINT');
    expect(exits).toEqual([]);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])('a later %s ends the program at once, with the code of the signal', (signal, code) => {
    signals.emit('SIGTERM');
    nowMs = 1_001;
    signals.emit(signal);
    expect(exits).toEqual([code]);
  });
});

test('a fault is logged with its stack and what to do, and ends the program with 70', () => {
  const world = new FakeTerminal();
  const exits: number[] = [];
  reportFault(new Error('nobody waited'), world.terminal.openLogger('fatal'), (code) =>
    exits.push(code),
  );
  expect(exits).toEqual([70]);
  expect(JSON.parse(world.logged)).toMatchObject({
    msg: 'this is a fault of knear: please report it',
    err: { message: 'nobody waited', stack: expect.stringContaining('knear.test.ts') },
  });
});

/** Takes down what the command line does to the world; `stop` is the user's Ctrl-C. */
class FakeTerminal {
  printed = '';
  complained = '';
  logged = '';
  settings: Settings | undefined;
  readonly events: string[] = [];
  readonly running: Running = {
    ingressUrl: 'http://door',
    adminUrl: 'http://admin',
    statuses: () => [
      {
        resourceId: 'Broker/default/default',
        kind: 'Broker',
        isReady: true,
        reason: 'Ready',
        message: '',
        infos: [],
        address: '/default/default',
      },
    ],
    broken: new Promise<never>(() => undefined),
    stop: () => {
      this.events.push('stop');
      return Promise.resolve();
    },
  };
  readonly #started = gate();
  readonly #stop = gate();
  readonly started = this.#started.opened;

  stop(): void {
    this.#stop.open();
  }

  readonly terminal: Terminal = {
    env: {},
    cwd: '/nowhere',
    print: (part) => {
      this.printed += part;
    },
    printBytes: () => Promise.reject(new Error('no command of these tests has any')),
    complain: (part) => {
      this.complained += part;
    },
    openLogger: (level) => pino({ level }, { write: (line: string) => void (this.logged += line) }),
    serve: (settings) => {
      this.settings = settings;
      this.events.push('serve');
      this.#started.open();
      return Promise.resolve(this.running);
    },
    stopAsked: () => this.#stop.opened,
    input: () => undefined,
    isWatched: { prints: false, complaints: false },
    printsUnread: () => new Promise(() => undefined),
  };
}

function gate(): { open: () => void; opened: Promise<void> } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `node main/knear.ts` with these words; an object adds variables. */
async function knear(...words: (string | Record<string, string>)[]): Promise<Ended> {
  const args = words.filter((word) => typeof word === 'string');
  const env = words.filter((word) => typeof word === 'object')[0];
  const child = spawn(process.execPath, [join(packageFolder(), 'main/knear.ts'), ...args], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
  });
  const code = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await code, stdout, stderr };
}
