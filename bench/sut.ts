/**
 * The program under test: `knear serve` as a child process with its own resources, data folder and free ports, as a
 * user would start it. It prints nothing we read; it is ready when its admin port says so.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { nowUs, sleepMs } from './clock.ts';
import { totalOf } from './exposition.ts';
import type { Children, Program } from './processes/children.ts';

export interface Sut {
  readonly port: number;
  readonly pid: number;
  /** From the start of the process to the first 200 of /readyz. */
  readonly readyMs: number;
  /** What it tells at /metrics. */
  metrics(): Promise<string>;
  /** Bytes that its log was given up to now; on JetStream, bytes that the server has written to the disk. */
  loggedBytes(): Promise<number>;
  /** What is left of large payloads now that everything should be settled; waits a moment for the last to go. */
  payloadsLeft(): Promise<PayloadsLeft>;
  /** A crash: SIGKILL, resolves when the process is gone. */
  crash(): Promise<void>;
  /** The end: SIGKILL, and its data is removed (a run of all rows writes gigabytes). Idempotent. */
  discard(): Promise<void>;
  /** Starts again after a crash with the same data; other resources if given. */
  restart(resources?: string): Promise<Sut>;
}

export interface PayloadsLeft {
  /** As knear counts them. */
  readonly bytes: number;
  /** Files in its payload folder, whatever knear knows of them. */
  readonly files: number;
}

const ENTRY = join(import.meta.dirname, '..', 'main', 'knear.ts');
/** 10,000 Triggers are 2 MB of YAML to read; past this something is wrong. */
const READY_MAX_MS = 90_000;
/** Small beside the time a start takes. */
const PROBE_EVERY_MS = 5;
/** Of what the program printed, when it fails: enough for a message and its stack. */
const OUTPUT_TAIL_CHARACTERS = 2_000;
/** Payloads go when their last settle is durable, a few milliseconds after the last answer. */
const LEFT_MAX_MS = 5_000;
/** Says whose the payloads are, and stays. */
const IDENTITY = '_identity';

/**
 * @param flags of `knear serve`, beside those for its folders and ports.
 * @throws when it does not become ready, with the end of what it printed.
 */
export async function startSut(
  children: Children,
  resources: string,
  flags: readonly string[] = [],
): Promise<Sut> {
  const folder = children.folder('sut');
  mkdirSync(join(folder, 'resources'));
  mkdirSync(join(folder, 'data'));
  return startIn({ children, folder, flags }, resources);
}

interface Place {
  readonly children: Children;
  readonly folder: string;
  readonly flags: readonly string[];
}

async function startIn(place: Place, resources: string): Promise<Sut> {
  const { children, folder, flags } = place;
  writeFileSync(join(folder, 'resources', 'bench.yaml'), resources);
  const [port, adminPort] = await freePorts();
  const outputFile = join(folder, 'output.log');
  const startUs = nowUs();
  const program = children.run(
    [
      ...[ENTRY, 'serve'],
      ...['--resources', join(folder, 'resources'), '--data', join(folder, 'data')],
      ...['--port', String(port), '--admin-port', String(adminPort)],
      ...flags,
    ],
    outputFile,
  );
  await untilReady(program, { adminPort, outputFile });
  const readyMs = (nowUs() - startUs) / 1e3;

  async function crash(): Promise<void> {
    program.kill('SIGKILL');
    await program.ended;
  }
  return {
    port,
    pid: program.pid,
    readyMs,
    metrics: () => metricsOf(adminPort),
    loggedBytes: async () => totalOf(await metricsOf(adminPort), 'knear_log_bytes_total'),
    payloadsLeft: () => payloadsLeft({ adminPort, folder: join(folder, 'data', 'payloads') }),
    crash,
    async discard() {
      await crash();
      rmSync(folder, { recursive: true, force: true });
    },
    restart: async (other = resources) => startIn(place, other),
  };
}

interface Probe {
  readonly adminPort: number;
  readonly outputFile: string;
}

async function untilReady(program: Program, { adminPort, outputFile }: Probe): Promise<void> {
  const state = { why: '' };
  program.ended.then(
    (why) => (state.why = why),
    () => undefined,
  );
  const giveUpUs = nowUs() + READY_MAX_MS * 1e3;
  while (!(await isReady(adminPort))) {
    if (state.why !== '' || nowUs() > giveUpUs) {
      program.kill('SIGKILL');
      const output = readFileSync(outputFile, 'utf8').slice(-OUTPUT_TAIL_CHARACTERS);
      throw new Error(`knear serve is not ready (${state.why || 'timeout'}): ${output}`);
    }
    await sleepMs(PROBE_EVERY_MS);
  }
}

async function isReady(adminPort: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`);
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false; // nobody listens yet
  }
}

interface PayloadPlaces {
  readonly adminPort: number;
  readonly folder: string;
}

async function payloadsLeft(places: PayloadPlaces): Promise<PayloadsLeft> {
  const giveUpUs = nowUs() + LEFT_MAX_MS * 1e3;
  for (;;) {
    const left = { bytes: await liveBytes(places.adminPort), files: filesIn(places.folder) };
    if ((left.bytes === 0 && left.files === 0) || nowUs() > giveUpUs) return left;
    await sleepMs(PROBE_EVERY_MS);
  }
}

async function liveBytes(adminPort: number): Promise<number> {
  return totalOf(await metricsOf(adminPort), 'knear_payload_live_bytes');
}

async function metricsOf(adminPort: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/metrics`);
  return response.text();
}

function filesIn(folder: string): number {
  if (!existsSync(folder)) return 0;
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile() && entry.name !== IDENTITY).length;
  } catch {
    return 1; // a folder in it went while we looked: there was something, and the next look tells
  }
}

/** Two ports that were free a moment ago: the program takes port numbers, and does not tell us which it got. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()] as const;
  const [first, second] = servers;
  await Promise.all(
    servers.map(async (server) => new Promise<void>((done) => server.listen(0, '127.0.0.1', done))),
  );
  // Listening TCP servers have addresses with a port.
  const ports: [number, number] = [
    (first.address() as AddressInfo).port,
    (second.address() as AddressInfo).port,
  ];
  await Promise.all(servers.map(async (server) => new Promise((done) => server.close(done))));
  return ports;
}
