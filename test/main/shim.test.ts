/**
 * Goal: `knear` starts with whatever Node.js is on the PATH, or says in one line what to do.
 * Method: main/knear.js is copied into a package of its own, beside a program that stands for the compiled knear; an
 * older Node.js is this one with another version number.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { packageFolder, packageVersion } from '../../main/settings.ts';

/** Everything that a test makes is in here, and this is all that is removed; no test assigns it. */
let temporary: string;

beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'knear-shim-'));
});

afterEach(async () => {
  await rm(temporary, { recursive: true, force: true });
});

const PLATFORM_NODE = `node-${process.platform}-${process.arch}/bin/node`;

/** Tells how it was started; with `wait`, it goes on until it is stopped. */
const PROGRAM = `
  export function main() {
    if (process.argv[2] === 'wait') {
      const timer = setInterval(() => {}, 1000);
      process.on('SIGTERM', () => { console.log('stopped'); clearInterval(timer); process.exitCode = 7; });
    }
    console.log(JSON.stringify({ args: process.argv.slice(2), node: process.execPath }));
  }
`;

interface PackageParts {
  /** Below the temporary folder. */
  readonly place?: string;
  readonly type?: string;
  readonly source?: string;
  readonly isCompiled?: boolean;
}

/** A package with the real main/knear.js; returns its folder. */
async function makePackage(parts: PackageParts = {}): Promise<string> {
  const { place = 'package', type = 'module', source, isCompiled = true } = parts;
  const root = join(temporary, place);
  await put(root, 'package.json', JSON.stringify({ type }));
  if (source !== undefined) await put(root, 'main/knear.ts', source);
  if (isCompiled) {
    await put(root, 'dist/package.json', '{"type":"module"}');
    await put(root, 'dist/main/knear.js', PROGRAM);
  }
  await mkdir(join(root, 'main'), { recursive: true });
  await cp(join(packageFolder(), 'main/knear.js'), join(root, 'main/knear.js'));
  return root;
}

async function put(root: string, path: string, content: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}

async function bringNode(path: string, node = process.execPath): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await symlink(node, path);
}

function start(root: string, version: string, ...args: string[]) {
  const pretend = `Object.defineProperty(process.versions, 'node', { value: '${version}' })`;
  const script = join(root, 'main/knear.js');
  return spawn(process.execPath, ['--import', `data:text/javascript,${pretend}`, script, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
  });
}

async function run(root: string, version: string, ...args: string[]) {
  const child = start(root, version, ...args);
  const closed = once(child, 'close');
  const [out, complaint] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await closed) as [number | null];
  return { code, out, complaint };
}

describe('on a Node.js that is new enough', () => {
  test('the compiled program runs in the same process, with its arguments', async () => {
    const { code, out, complaint } = await run(await makePackage(), '22.19.0', 'a', 'b');
    expect({ code, complaint }).toEqual({ code: 0, complaint: '' });
    expect(JSON.parse(out)).toEqual({ args: ['a', 'b'], node: process.execPath });
  });

  test('the source goes before a compiled program, which may be old', async () => {
    const source = 'export const main: () => void = () => console.log("source");';
    expect(await run(await makePackage({ source }), '24.0.0')).toMatchObject({
      code: 0,
      out: 'source\n',
    });
  });

  test('in a node_modules folder, where types are not stripped, the compiled program runs', async () => {
    const root = await makePackage({ place: 'node_modules/knear', source: 'not TypeScript' });
    expect(await run(root, '24.0.0', 'x')).toMatchObject({
      code: 0,
      out: expect.stringContaining('"x"'),
    });
  });

  test('without anything to run it says what to do', async () => {
    expect(await run(await makePackage({ isCompiled: false }), '24.0.0')).toEqual({
      code: 1,
      out: '',
      complaint: expect.stringMatching(/^KNEAR_NODE_VERSION: .*npm run build.*\n$/),
    });
  });
});

describe.each(['module', 'commonjs'])('on an old Node.js, read as %s', (type) => {
  test.each([
    ['our own dependencies', 'package', `package/node_modules/${PLATFORM_NODE}`],
    ['the bin folder of our dependencies', 'package', 'package/node_modules/.bin/node'],
    ['the dependencies beside us', 'node_modules/knear', `node_modules/${PLATFORM_NODE}`],
  ])('the Node.js among %s takes over', async (_name, place, node) => {
    const root = await makePackage({ type, place });
    await bringNode(join(temporary, node));
    const { code, out } = await run(root, '12.22.12', 'a', '--b=c d');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ args: ['a', '--b=c d'] });
  });

  test.each([
    ['there is no other one', () => Promise.resolve()],
    [
      'the other one does not run',
      (root: string) => bringNode(join(root, 'node_modules/.bin/node'), '/bin/false'),
    ],
  ])('when %s, one line says what to do', async (_name, prepare) => {
    const root = await makePackage({ type });
    await prepare(root);
    expect(await run(root, '12.22.12')).toEqual({
      code: 1,
      out: '',
      complaint: expect.stringMatching(
        /^KNEAR_NODE_VERSION: knear needs Node\.js 22\.19 or newer, and this is 12\.22\.12; .*`npm install`.*\n$/,
      ),
    });
  });

  test('a signal is passed on, and the exit code comes back', async () => {
    const root = await makePackage({ type });
    await bringNode(join(root, 'node_modules', PLATFORM_NODE));
    const child = start(root, '12.22.12', 'wait');
    const closed = once(child, 'close');
    child.stdout.once('data', () => child.kill('SIGTERM'));
    expect(await text(child.stdout)).toMatch(/stopped\n$/);
    expect(await closed).toEqual([7, null]);
  });

  test('an end by a signal is passed back as one', async () => {
    const root = await makePackage({ type });
    await bringNode(join(root, 'node_modules', PLATFORM_NODE));
    const child = start(root, '12.22.12', 'wait');
    const closed = once(child, 'close');
    child.stdout.once('data', () => child.kill('SIGINT'));
    expect(await closed).toEqual([null, 'SIGINT']);
  });
});

test('the real one starts the real program', async () => {
  expect(await run(packageFolder(), '24.0.0', '--version')).toMatchObject({
    code: 0,
    out: expect.stringMatching(new RegExp(`^knear ${packageVersion()}, Node\\.js `)),
  });
});
