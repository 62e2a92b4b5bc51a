/** `knear parked`, the program, shows and moves what `knear serve`, the program, has parked: also across SIGKILL. */
import { afterEach, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { send } from './producer.ts';
import { ENTRY, type Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Subscriber } from './subscriber.ts';

const stage = openStage();

afterEach(() => stage.close());

const IDS = ['e-1', 'e-2', 'e-3'];

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function parked(program: Program, ...args: string[]): Promise<Ran> {
  // The newest banner: the port changes with every start.
  const [, adminUrl = ''] = [...program.output.matchAll(/^health +(\S+)\/readyz$/gm)].at(-1) ?? [];
  const given = [ENTRY, 'parked', ...args, '--admin-url', adminUrl];
  return new Promise((resolve) => {
    execFile(process.execPath, given, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

/** A program whose Trigger `audit` has three events parked, because its subscriber answers 422. */
async function withParked(): Promise<{ program: Program; subscriber: Subscriber }> {
  const subscriber = await stage.subscriber();
  subscriber.on('/audit', () => ({ status: 422, body: 'unknown order' }));
  const program = await stage.start(resources(subscriber));
  for (const id of IDS) {
    const { status } = await send(`${program.url}/default/main`, { id, type: 'order' }, `of ${id}`);
    expect(status).toBe(202);
  }
  await untilParked(program, IDS.length);
  return { program, subscriber };
}

function resources(
  { url }: Subscriber,
  annotations: Readonly<Record<string, string>> = {},
): string {
  return yamlOf(broker('main'), trigger('audit', { subscriber: `${url}/audit`, annotations }));
}

async function untilParked(program: Program, count: number): Promise<void> {
  const look = () => program.metric('knear_lag', { state: 'parked' });
  await eventually(`${String(count)} parked`, async () => (await look()) === count);
}

/** What arrived at the address since the subscriber was repaired. */
async function arrivedIds(program: Program, subscriber: Subscriber, path: string) {
  await program.idle();
  return subscriber
    .at(path)
    .slice(path === '/audit' ? IDS.length : 0)
    .map(({ id }) => id)
    .toSorted();
}

test('what is parked is listed, shown after a SIGKILL, and replayed once its subscriber is repaired', async () => {
  const { program, subscriber } = await withParked();
  const counts = await parked(program, 'list');
  expect(counts).toMatchObject({ code: 0, stderr: '' });
  expect(counts.stdout).toMatch(/^default +trigger\/audit +3 .*\n3 events are parked\.\n$/m);

  await program.crash();
  await program.start();
  const listed = await parked(program, 'list', 'trigger', 'audit');
  expect(listed.stdout).toMatch(/ e-1 .*\n.* e-2 .*\n.* e-3 .*\n3 events are parked\.\n$/);
  expect(listed.stdout).toContain(`KNEAR_REJECTED 422   ${subscriber.url}/audit`);
  const position = /^(\d+) +e-2 /m.exec(listed.stdout)?.[1] ?? '';
  const shown = await parked(program, 'show', 'trigger', 'audit', position);
  expect(shown.stdout).toMatch(/^answer +unknown order$/m);
  expect(shown.stdout.endsWith('\nof e-2\n')).toBe(true);

  subscriber.on('/audit', () => ({ status: 200 }));
  const one = await parked(program, 'replay', 'trigger', 'audit', '--position', position);
  expect(one).toEqual({
    code: 0,
    stdout: 'Replayed: 1 parked event of Trigger default/audit.\n',
    stderr: '',
  });
  expect(await arrivedIds(program, subscriber, '/audit')).toEqual(['e-2']);
  const rest = await parked(program, 'replay', 'trigger', 'audit', '--all');
  expect(rest.stdout).toBe('Replayed: 2 parked events of Trigger default/audit.\n');
  expect(await arrivedIds(program, subscriber, '/audit')).toEqual(IDS);
  expect((await parked(program, 'list')).stdout).toBe('0 events are parked.\n');
  const again = await parked(program, 'replay', 'trigger', 'audit', '--position', position);
  expect(again.code).toBe(1);
  expect(await arrivedIds(program, subscriber, '/audit')).toEqual(IDS);
});

test('what is replayed and killed before it is delivered arrives once', async () => {
  const { program, subscriber } = await withParked();
  subscriber.on('/audit', () => ({ status: 200 }));
  const paused = resources(subscriber, { 'knear.dev/paused': 'true' });
  await program.change(() => program.write('main.yaml', paused));
  const { code } = await parked(program, 'replay', 'trigger', 'audit', '--all', '-o', 'json');
  expect(code).toBe(0);
  await program.crash();
  await program.start();
  expect(await program.metric('knear_lag', { state: 'parked' })).toBe(0);
  expect(await program.metric('knear_lag', { state: 'ready' })).toBe(3);
  await program.change(() => program.write('main.yaml', resources(subscriber)));
  expect(await arrivedIds(program, subscriber, '/audit')).toEqual(IDS);
});

test('what fails again is parked again, and can go to another address', async () => {
  const { program, subscriber } = await withParked();
  await parked(program, 'replay', 'trigger', 'audit', '--all');
  await eventually('the second refusals', () => subscriber.at('/audit').length === 6);
  await untilParked(program, IDS.length);
  subscriber.on('/else', ({ id }) => ({ status: id === 'e-2' ? 500 : 204 }));
  const to = `${subscriber.url}/else`;
  const sent = await parked(program, 'replay', 'trigger', 'audit', '--all', '--to', to);
  expect(sent.code).toBe(1);
  expect(sent.stdout).toMatch(
    /: 2 parked events of .*\nNot taken, and still parked: 1\.\n.*500\n$/,
  );
  expect(await arrivedIds(program, subscriber, '/else')).toEqual(IDS);
  const left = await parked(program, 'list', 'trigger', 'audit');
  expect(left.stdout).toMatch(/ e-2 .*\n1 event is parked\.\n$/);
});

test('a drop of all wants to be meant, and is counted', async () => {
  const { program } = await withParked();
  const asked = await parked(program, 'drop', 'trigger', 'audit', '--all');
  expect(asked).toMatchObject({ code: 2, stdout: '' });
  expect(asked.stderr).toMatch(/^KNEAR_USAGE: .*--yes/);
  const dropped = await parked(program, 'drop', 'trigger', 'audit', '--all', '--yes');
  expect(dropped.stdout).toBe('Dropped: 3 parked events of Trigger default/audit.\n');
  expect(await program.metric('knear_discarded_total', { reason: 'parked-dropped' })).toBe(3);
  await program.crash();
  await program.start();
  expect((await parked(program, 'list')).stdout).toBe('0 events are parked.\n');
});

test.each([
  { what: 'neither all nor some', args: ['replay', 'trigger', 'audit'] },
  { what: 'both', args: ['replay', 'trigger', 'audit', '--all', '--position', '1'] },
  { what: 'a position that is none', args: ['show', 'trigger', 'audit', 'first'] },
])('$what is wrong usage', async ({ args }) => {
  const given = [ENTRY, 'parked', ...args];
  const ran = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
    execFile(process.execPath, given, (error, _stdout, stderr) => {
      resolve({ code: error?.code, stderr });
    });
  });
  expect(ran).toEqual({ code: 2, stderr: expect.stringMatching(/^KNEAR_USAGE: /) });
});
