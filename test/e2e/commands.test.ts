/** The commands that speak to a running knear, as programs of their own: what they print, and how they end. */
import { afterEach, expect, test } from '@jest/globals';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { eventually } from './eventually.ts';
import { guard } from './guard.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { ENTRY, type Program } from './program.ts';
import { openStage } from './stage.ts';

const stage = openStage();
const children: ChildProcessByStdio<Writable, Readable, Readable>[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await stage.close();
});

function knear(...args: readonly string[]) {
  const child = spawn(process.execPath, [ENTRY, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  const guarding = guard({ pid: child.pid ?? 0 });
  let printed = '';
  let complained = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complained += text));
  // Who has what it needs closes its input.
  child.stdin.on('error', () => undefined);
  const ended = once(child, 'close').then(([code]) => {
    guarding.dismiss();
    return { code: code as number | null, printed, complained };
  });
  return { child, ended, printed: () => printed, complained: () => complained };
}

function adminUrlOf({ output }: Program): string {
  return /^health +(\S+)\/readyz$/m.exec(output)?.[1] ?? '';
}

/** A Broker `main` whose only Trigger goes to the subscriber. */
async function start(flags: readonly string[] = []) {
  const subscriber = await stage.subscriber();
  const resources = yamlOf(broker('main'), trigger('all', { subscriber: subscriber.url }));
  const program = await stage.start(resources, { flags });
  return { subscriber, program, admin: ['--admin-url', adminUrlOf(program)] };
}

test('send brings a text, a file and what is piped in to a subscriber, and tail shows them', async () => {
  const { subscriber, admin } = await start();
  const tail = knear('tail', 'main', ...admin, '--filter', "type LIKE 'order.%'");
  await eventually('a tail', () => tail.complained().includes('events of the broker default/main'));

  const text = knear('send', 'main', ...admin, '--type', 'order.text', '--data', '{"a":1}');
  expect(await text.ended).toEqual({
    code: 0,
    printed: expect.stringMatching(/^202 Accepted {2}id [0-9a-f-]{36}\n$/),
    complained: '',
  });
  const other = knear('send', 'main', ...admin, '--type', 'note.added', '--data', 'x');
  expect((await other.ended).code).toBe(0);
  const file = knear('send', 'default/main', ...admin, '--type', 'order.file', '--file', ENTRY);
  expect((await file.ended).code).toBe(0);
  const piped = knear('send', 'main', ...admin, '--type', 'order.pipe', '--id', 'p-1');
  piped.child.stdin.end('piped in');
  expect(await piped.ended).toMatchObject({ code: 0, printed: '202 Accepted  id p-1\n' });

  await eventually('four events', () => subscriber.received.length >= 4);
  await eventually('a line', () => tail.printed().includes('piped in\n'));
  tail.child.kill('SIGINT');
  const { code, printed } = await tail.ended;
  expect(code).toBe(0);
  expect(printed).toMatch(
    /^[\d:.]+Z {2}order\.text {2}\/knear\/send {2}\S+ {2}7 B\n {2}\{"a":1\}\n/,
  );
  expect(printed.match(/order\.\w+|note\.\w+/g)).toEqual([
    'order.text',
    'order.file',
    'order.pipe',
  ]);
  expect(Math.max(...printed.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(printed).not.toContain('\u001b');
});

test('send ends with 1 and says what the door says', async () => {
  const { program, admin } = await start(['--event-max', '64Ki']);
  const large = knear('send', 'main', ...admin, '--type', 'a');
  large.child.stdin.end(Buffer.alloc(500_000));
  expect(await large.ended).toEqual({
    code: 1,
    printed: '',
    complained: expect.stringMatching(/^KNEAR_EVENT_TOO_LARGE: .*\(413 Payload Too Large\)\n$/),
  });
  const lost = knear('send', `${program.url}/default/none`, '--type', 'a', '--data', 'x');
  expect(await lost.ended).toMatchObject({
    code: 1,
    complained: expect.stringMatching(/^KNEAR_INGRESS_UNKNOWN: .*\(404 Not Found\)\n$/),
  });
  const unknown = knear('send', 'none', ...admin, '--type', 'a', '--data', 'x');
  expect(await unknown.ended).toMatchObject({
    code: 1,
    complained: expect.stringMatching(/^KNEAR_RESOURCE_UNKNOWN: .*default\/none/),
  });
});

test('tail ends when nobody reads it, and when knear ends', async () => {
  const { program, admin } = await start();
  const unread = knear('tail', 'main', ...admin);
  const left = knear('tail', 'main', ...admin);
  for (const { complained } of [unread, left]) {
    await eventually('a tail', () => complained().includes('events of'));
  }
  unread.child.stdout.destroy();
  const send = () => knear('send', 'main', ...admin, '--type', 'a', '--data', 'x').ended;
  await eventually('its end', async () => {
    await send();
    return unread.child.exitCode !== null;
  });
  expect(unread.child.exitCode).toBe(0);
  program.terminate();
  expect(await left.ended).toMatchObject({
    code: 1,
    complained: expect.stringContaining('KNEAR_ADMIN_UNREACHABLE'),
  });
});

test('doctor looks at a knear that runs, and at a folder that it owns', async () => {
  const { program } = await start();
  const places = [
    ...['--port', new URL(program.url).port, '--admin-port', new URL(adminUrlOf(program)).port],
    ...['--resources', program.resourcesFolder, '--data', program.dataFolder],
  ];
  const running = await knear('doctor', ...places, '-o', 'json').ended;
  const { checks } = JSON.parse(running.printed) as { checks: { name: string; state: string }[] };
  const stateOf = (name: string) => checks.find((check) => check.name === name)?.state;
  for (const name of ['settings', 'resources', 'data folder', 'owner', 'port', 'admin port']) {
    expect({ name, state: stateOf(name) }).toEqual({ name, state: 'ok' });
  }
  const another = await knear('doctor', '--data', program.dataFolder, '--port', '0').ended;
  expect(another.code).toBe(1);
  expect(another.printed).toMatch(/^FAIL +owner +process \d+ uses the data folder: and no knear/m);
  // It has disturbed nobody.
  expect(program.exit).toBeUndefined();
  expect(program.complaints).toEqual([]);
});
