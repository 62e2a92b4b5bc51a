/**
 * The first five minutes of a user: `knear serve` with nothing else, then the command that it shows.
 *
 * Without flags it uses the ports that the samples name. To keep them free for this test, it runs in a network of its own
 * where the system gives us one (Linux, root); elsewhere on this machine's, and is skipped when somebody uses a port.
 */
import { afterEach, expect, test } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { eventually } from './eventually.ts';
import { guard } from './guard.ts';
import { ENTRY } from './program.ts';
import { openStage } from './stage.ts';

const stage = openStage();
const endings: (() => void)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0)) end();
  await stage.close();
});

/** In a network of its own; its only interface has to be switched on. */
const ISOLATED = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];

function canIsolate(): boolean {
  const [command = '', ...args] = [...ISOLATED, 'true'];
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** A shell command where the program runs. */
function shell(pid: number, isIsolated: boolean, line: string) {
  const inside = isIsolated ? ['nsenter', '--target', String(pid), '--net'] : [];
  const [command = '', ...args] = [...inside, 'sh', '-c', line];
  return spawnSync(command, args, { encoding: 'utf8', timeout: 10_000 });
}

function serve(isIsolated: boolean) {
  const node = [process.execPath, ENTRY, 'serve'];
  const [command = '', ...args] = isIsolated ? [...ISOLATED, ...node] : node;
  // It keeps its data in the working directory.
  const child = spawn(command, args, { cwd: stage.folder(), stdio: ['ignore', 'pipe', 'pipe'] });
  const guarding = guard({ pid: child.pid ?? 0 });
  endings.push(() => {
    child.kill('SIGKILL');
    guarding.dismiss();
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  return {
    pid: child.pid ?? 0,
    output: () => output,
    get exitCode() {
      return child.exitCode;
    },
    terminate: () => child.kill('SIGTERM'),
  };
}

test('the command from the banner, pasted as it is, shows the order and what became of it', async () => {
  const isIsolated = canIsolate();
  const program = serve(isIsolated);
  await eventually(
    'the banner',
    () => program.exitCode !== null || /^Served:/m.test(program.output()),
    {
      withinMs: 20_000,
      otherwise: program.output,
    },
  );
  if (!isIsolated && program.output().includes('KNEAR_PORT_IN_USE')) {
    console.warn('skipped: a port of the quickstart is in use');
    return;
  }
  expect(program.output()).not.toContain('Not ready:');
  const ready = shell(program.pid, isIsolated, 'curl -s http://127.0.0.1:9090/readyz');
  expect(JSON.parse(ready.stdout)).toMatchObject({ status: 'ready' });

  const command = /^ {2}curl (?:[^\n]*\\\n)*[^\n]*/m.exec(program.output())?.[0] ?? '';
  expect(command).toContain('http://127.0.0.1:8080/default/default');
  const { stdout } = shell(program.pid, isIsolated, command);

  expect(stdout).toMatch(/^HTTP\/1\.1 202 Accepted/);
  const result = /orders +order\.shipped/;
  await eventually('the result of the chain', () => result.test(program.output()), {
    otherwise: program.output,
  });
  const lines = () =>
    program
      .output()
      .split('\n')
      .filter((line) => /^\d\d:\d\d:\d\d /.test(line));
  await eventually('all four lines', () => lines().length === 4, { otherwise: lines });
  const shown = lines().map((line) => line.split(/ {2,}/).slice(1, 4).join(' '));
  const shipped = 'order-1-reserved-charged-shipped';
  expect(shown.sort()).toEqual([
    'audit order.created order-1',
    `audit order.shipped ${shipped}`,
    'orders order.created order-1',
    `orders order.shipped ${shipped}`,
  ]);
  expect(lines().find((line) => result.test(line))).toContain('"order":"A-1"');

  program.terminate();
  await eventually('a good end', () => program.exitCode === 0, { otherwise: program.output });
});
