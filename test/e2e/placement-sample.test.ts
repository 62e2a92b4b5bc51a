/**
 * Goal: `npm run placement` shows what its README promises. Method: it runs as a user starts it, and the table that it prints is
 * read. What is checked to the last event follows from where pods are, not from how fast the machine is: with four orders at a
 * time, as many as a place sends at first, nothing ever waits for a near pod.
 */
import { afterEach, expect, test } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { guard } from './guard.ts';
import { ENTRY } from './program.ts';
import { openStage } from './stage.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'config', 'samples', 'placement');
const ORDERS = 100;
/** Three starts of knear and 360 orders: ten seconds, and a multiple of it on a busy machine. */
const RUN_MAX_MS = 240_000;

const stage = openStage();
const endings: (() => void)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0)) end();
  await stage.close();
});

/** The script, with a temporary folder of its own. */
function start(args: readonly string[]) {
  const temporary = stage.folder();
  const child = spawn(process.execPath, [join(FOLDER, 'run.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: temporary },
    // A group of its own, so that what it has started ends with it, even if it is killed.
    detached: true,
  });
  const group = -(child.pid ?? 0);
  const guarding = guard({ pid: group });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  let exitCode: number | null | undefined;
  child.once('close', (code) => (exitCode = code));
  endings.push(() => {
    if (exitCode === undefined) process.kill(group, 'SIGKILL');
    guarding.dismiss();
  });
  return {
    temporary,
    output: () => output,
    terminate: () => child.kill('SIGTERM'),
    ended: () =>
      eventually('its end', () => exitCode !== undefined && { exitCode }, {
        withinMs: RUN_MAX_MS,
        otherwise: () => output,
      }),
  };
}

type Counts = Readonly<Record<string, number>>;

interface Round {
  readonly title: string;
  /** Step -> pod -> calls. */
  readonly pods: Readonly<Record<string, Counts>>;
  /** Step -> how near, and why -> attempts. */
  readonly routes: Readonly<Record<string, Counts>>;
  /** From where to where -> `taken`, or why not -> events. */
  readonly hops: Readonly<Record<string, Counts>>;
}

function roundsIn(output: string): Round[] {
  const [, ...rounds] = output.split(/^== /m);
  return rounds.map((text) => {
    const [title = '', ...lines] = text.split('\n');
    const rows = lines.map((line) => line.split(/ {3,}/));
    const steps = rows.filter(([name = '']) => /^(reserve|charge|ship|shown)$/.test(name));
    const ways = rows.filter(([name = '']) => / to /.test(name) && name !== 'went on from');
    return {
      title,
      pods: Object.fromEntries(steps.map(([step = '', pods = '']) => [step, countsIn(pods)])),
      routes: Object.fromEntries(
        steps.map(([step = '', , routes = '']) => [step, countsIn(routes)]),
      ),
      hops: Object.fromEntries(
        ways.map(([way = '', taken = '', refused = '']) => [
          way,
          { taken: Number(taken), ...countsIn(refused) },
        ]),
      ),
    };
  });
}

/** `reserve-1 34 · reserve-2 33` */
function countsIn(text: string): Counts {
  return Object.fromEntries(
    [...text.matchAll(/([a-z][\w, -]*?) (\d+)(?= ·|$)/g)].map(([, what = '', count]) => [
      what,
      Number(count),
    ]),
  );
}

function sum(counts: Counts = {}): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

test('the resources load without a remark', () => {
  const { status, stdout } = spawnSync(process.execPath, [ENTRY, 'validate', '--strict', FOLDER], {
    encoding: 'utf8',
  });
  expect({ status, stdout }).toEqual({
    status: 0,
    stdout: expect.stringMatching(/: 19 valid resources, 0 errors, 0 warnings\n$/),
  });
});

test(
  'near pods get the orders, steps on one node hop, and nothing is lost',
  async () => {
    const script = start(['--once', '--orders', String(ORDERS)]);
    const { exitCode } = await script.ended();
    expect({ exitCode, output: script.output() }).toEqual({
      exitCode: 0,
      output: expect.stringContaining(`\n${3 * ORDERS} of ${3 * ORDERS} orders arrived\n`),
    });
    const [off, on, crowd, ...others] = roundsIn(script.output());
    expect(others).toEqual([]);

    const steps = ['reserve', 'charge', 'ship'];
    for (const round of [off, on]) {
      for (const step of steps) {
        expect(round?.routes[step]).toEqual({ 'node, nearest': ORDERS });
        expect(sum(round?.pods[step])).toBe(ORDERS);
      }
      expect(round?.routes['shown']).toEqual({ 'none, url': ORDERS });
    }
    for (const counts of Object.values(off?.hops ?? {})) {
      expect(counts).toEqual({ taken: 0, off: ORDERS });
    }
    expect(Object.keys(on?.hops ?? {})).toHaveLength(4);
    for (const counts of Object.values(on?.hops ?? {})) {
      expect(counts['taken']).toBeGreaterThan(0);
      expect(sum(counts)).toBe(ORDERS);
    }
    // Where the next step has no pod on the node.
    expect(on?.hops['reserve to charge']?.['elsewhere']).toBe(on?.pods['reserve']?.['reserve-2']);
    expect(on?.hops['charge to ship']?.['elsewhere']).toBe(on?.pods['charge']?.['charge-1']);
    // What comes from the log for a step goes to a dispatcher that is near one of its pods.
    expect(on?.pods['charge']?.['charge-1']).toBeGreaterThan(0);
    expect(on?.pods['charge']?.['charge-3']).toBeGreaterThan(0);

    for (const step of steps) expect(sum(crowd?.routes[step])).toBeGreaterThanOrEqual(ORDERS);
    // It leaves nothing behind.
    expect(readdirSync(script.temporary)).toEqual([]);
  },
  RUN_MAX_MS,
);

test(
  'it stays up for orders of others, and SIGTERM ends all of it',
  async () => {
    const script = start(['--orders', '5']);
    await eventually('its last words', () => /^Metrics: /m.test(script.output()), {
      withinMs: RUN_MAX_MS,
      otherwise: script.output,
    });
    const url = /curl -i (\S+)/.exec(script.output())?.[1] ?? '';
    const resources = /send again: (\S+)$/m.exec(script.output())?.[1] ?? '';
    expect(existsSync(resources)).toBe(true);
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        ...{ 'ce-specversion': '1.0', 'ce-id': 'mine', 'ce-source': '/me' },
        ...{ 'ce-type': 'order.created', 'content-type': 'application/json' },
      },
      body: JSON.stringify({ order: 'mine' }),
    });
    expect(response.status).toBe(202);
    await eventually(
      'its way',
      () => /^mine: reserve-[123] -> charge-[13] -> ship-3$/m.test(script.output()),
      { otherwise: script.output },
    );
    script.terminate();
    expect(await script.ended()).toEqual({ exitCode: 0 });
    expect(existsSync(resources)).toBe(false);
    await expect(fetch(url)).rejects.toThrow();
  },
  RUN_MAX_MS,
);
