/**
 * The kill test: the real program under load, killed with SIGKILL at random moments and started again on the same folder. On
 * JetStream the server is killed as well, and starts again on what it had.
 * In the end everything settles, and every event that was answered 202 must have reached every subscriber that wants it,
 * its dead letter sink, or be parked. Nobody got anything else than what was sent, and when what is parked has been
 * delivered, too, no large data is left behind.
 *
 * Chance is seeded, so that a seed gives the same mixture of events, moods and moments; two processes and a disk do not
 * run in lockstep, so it does not give the same run.
 */
import { EMBEDDED, jetStream, type Engine } from '../e2e/engine.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import { payloadFilesOf } from '../e2e/payload-files.ts';
import type { Program } from '../e2e/program.ts';
import { openStage } from '../e2e/stage.ts';
import { openNats } from '../servers/nats.ts';
import { SeededRandom } from '../sim/random.ts';
import { isLarge, LARGE_FROM_BYTES } from './body.ts';
import { startProducers, type Producers } from './producers.ts';
import { KINDS, resources } from './scenery.ts';
import { brokenPromises, duplicates, outOfOrder, type Broken } from './verdict.ts';
import { programAlone, programAndServer, type Victims } from './victims.ts';
import { openWorker, type Worker } from './worker.ts';

export interface KillOptions {
  readonly engine: Engine['name'];
  readonly kills: number;
  readonly seed: number;
  /** The whole run, to the end of the program; past it, it fails. */
  readonly limitMs: number;
  /** Ends the run at once, with everything cleared up. */
  readonly signal?: AbortSignal;
}

export interface KillReport {
  readonly engine: Engine['name'];
  readonly seed: number;
  readonly kills: number;
  /** Kills that came before the program was ready. */
  readonly killsAtStart: number;
  readonly acknowledged: number;
  /** Of them, those whose data is kept beside the log. */
  readonly large: number;
  readonly largeBytes: number;
  readonly sends: number;
  readonly requests: number;
  readonly duplicates: number;
  readonly deadLettered: number;
  readonly parked: number;
  readonly lost: readonly Broken[];
  readonly outOfOrder: readonly string[];
  readonly torn: readonly string[];
  /** Whatever else is not as it should be. */
  readonly faults: readonly string[];
  readonly tookMs: number;
}

/** @throws when the program does not start, ends by itself, or does not settle; or past the limit. */
export async function runKillTest(options: KillOptions): Promise<KillReport> {
  const server = options.engine === 'JetStream' ? await openNats() : undefined;
  const engine = server ? jetStream(() => server) : EMBEDDED;
  const stage = openStage({ engine });
  const limit = AbortSignal.timeout(options.limitMs);
  const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
  const random = new SeededRandom(options.seed);
  const startMs = performance.now();
  const worker = await openWorker(random);
  const program = stage.program(resources(worker.url), { flags: FLAGS });
  let producers: Producers | undefined;
  try {
    await program.start();
    producers = startProducers({ random, url: () => program.url });
    const victims = server ? programAndServer({ program, server, random }) : programAlone(program);
    const scene: Scene = { program, victims, engine, producers, worker, random, signal };
    return await orAbort(signal, async () => {
      const killed = await killAndStart(scene, options.kills);
      return conclude(scene, { ...killed, seed: options.seed, kills: options.kills, startMs });
    });
  } finally {
    producers?.abandon();
    await stage.close();
    await server?.close();
    await worker.close();
  }
}

/** One line for people. */
export function lineOf(report: KillReport): string {
  const number = (value: number) => value.toLocaleString('en');
  return [
    report.engine,
    `seed ${String(report.seed)}`,
    `${number(report.kills)} kills (${number(report.killsAtStart)} during a start)`,
    `${number(report.acknowledged)} events acknowledged in ${number(report.sends)} sends`,
    `${number(report.large)} of them large (${number(Math.round(report.largeBytes / 1e6))} MB)`,
    `${number(report.requests)} requests to subscribers`,
    `${number(report.duplicates)} duplicates`,
    `${number(report.deadLettered)} dead-lettered`,
    `${number(report.parked)} parked`,
    `${number(report.outOfOrder.length)} out of order`,
    `${number(report.torn.length)} torn`,
    `lost ${number(report.lost.length)}`,
    `${(report.tookMs / 1_000).toFixed(0)} s`,
  ].join(', ');
}

export function isGood({ lost, outOfOrder: swapped, torn, faults }: KillReport): boolean {
  return [lost, swapped, torn, faults].every(({ length }) => length === 0);
}

/** No bound that would drop a parked event: it could not be told from a lost one. */
const FLAGS = [
  ...['--parked-max', '10000000', '--parked-bytes-max', '8Gi'],
  // Many claimed events in a short time, which need not be of megabytes.
  ...['--claim-check-inline-max', String(LARGE_FROM_BYTES)],
];

interface Scene {
  readonly program: Program;
  readonly victims: Victims;
  readonly engine: Engine;
  readonly producers: Producers;
  readonly worker: Worker;
  readonly random: SeededRandom;
  /** Once it is aborted everything is being cleared up, and nothing may be started any more. */
  readonly signal: AbortSignal;
}

interface Killed {
  readonly killsAtStart: number;
  readonly faults: ReadonlySet<string>;
}

/** Load between two kills: short enough for a commit or two, long enough for retries that wait in the log. */
const LOAD_MIN_MS = 200;
const LOAD_MAX_MS = 1_500;
/** One kill in six comes while the program starts, up to a little after it is ready. */
const AT_START_CHANCE = 1 / 6;
const START_GUESS_MS = 800;

async function killAndStart(scene: Scene, kills: number): Promise<Killed> {
  const { victims, random, signal } = scene;
  const faults = new Set<string>();
  let killsAtStart = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    await pause(random.between(LOAD_MIN_MS, LOAD_MAX_MS));
    await killNow(scene, faults);
    while (kill + 1 < kills && random.chance(AT_START_CHANCE)) {
      signal.throwIfAborted();
      victims.spawn();
      await pause(random.between(0, START_GUESS_MS));
      await killNow(scene, faults);
      kill += 1;
      killsAtStart += 1;
    }
    signal.throwIfAborted();
    await victims.start();
  }
  return { killsAtStart, faults };
}

async function killNow(scene: Scene, faults: Set<string>): Promise<void> {
  const { program, victims } = scene;
  if (program.exit) throw new Error(`it ended by itself: ${program.output.slice(-2_000)}`);
  await victims.kill();
  // What it printed is kept up to a bound, so it is looked at while it is there.
  for (const complaint of complaintsOf(scene)) faults.add(complaint);
}

function complaintsOf({ program, victims }: Scene): string[] {
  return program.complaints.filter((complaint) => !victims.isAboutKill(complaint));
}

/** Retries that wait in the log take up to seven times 1.1 s, and more where kills made them start again. */
const SETTLE_MAX_MS = 60_000;

interface Facts extends Killed {
  readonly seed: number;
  readonly kills: number;
  readonly startMs: number;
}

async function conclude(scene: Scene, { faults, startMs, ...facts }: Facts): Promise<KillReport> {
  const { program, producers, worker } = scene;
  await producers.stop();
  await program.idle(SETTLE_MAX_MS);
  const parked = await readParked(program);
  const lateFaults = [
    ...(await restartFaults(scene, parked)),
    ...(await leftFaults(scene, parked)),
  ];
  const { acknowledged } = producers;
  const large = acknowledged.filter(isLarge);
  const taken = (path: string) => worker.taken(path);
  const sum = (paths: readonly string[], count: (path: string) => number) =>
    paths.reduce((total, path) => total + count(path), 0);
  const sinks = worker.paths().filter((path) => path.startsWith('/dead/'));
  return {
    ...facts,
    engine: scene.engine.name,
    acknowledged: acknowledged.length,
    large: large.length,
    largeBytes: large.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    sends: KINDS.reduce((total, kind) => total + producers.sends(kind), 0),
    requests: worker.requests,
    duplicates: sum(worker.paths(), (path) => duplicates(taken(path))),
    deadLettered: sum(sinks, (path) => taken(path).size),
    parked: [...parked.values()].reduce((total, count) => total + count, 0),
    lost: brokenPromises({ acknowledged, taken, parked: (egress) => parked.get(egress) ?? 0 }),
    outOfOrder: outOfOrder(taken('/ordered')),
    torn: worker.torn,
    faults: [...faults, ...complaintsOf(scene), ...lateFaults],
    tookMs: performance.now() - startMs,
  };
}

/** Parked events of each Trigger and Subscription. */
async function readParked(program: Program): Promise<ReadonlyMap<string, number>> {
  const samples = await program.samples();
  const parked = samples.filter(
    ({ name, labels }) => name === 'knear_lag' && labels['state'] === 'parked',
  );
  return new Map(parked.map(({ labels, value }) => [labels['egress'] ?? '', value]));
}

/**
 * After a graceful end and another start there is nothing left to do: nothing is repeated, nothing parked has gone, and
 * no event was parked more often than it was sent.
 */
async function restartFaults(
  { program, producers, worker, signal }: Scene,
  parked: ReadonlyMap<string, number>,
): Promise<string[]> {
  const { requests } = worker;
  const exit = await program.stop();
  signal.throwIfAborted();
  await program.start();
  await program.idle(SETTLE_MAX_MS);
  const after = await readParked(program);
  const faults: string[] = [];
  if (exit.code !== 0) faults.push(`it ended with ${JSON.stringify(exit)} after SIGTERM`);
  if (worker.requests !== requests) {
    faults.push(`${String(worker.requests - requests)} requests after a graceful restart`);
  }
  for (const [egress, count] of parked) {
    const now = after.get(egress) ?? 0;
    if (now !== count) faults.push(`${egress} had ${String(count)} parked, and now ${String(now)}`);
  }
  const most = producers.sends('parked');
  const count = parked.get('trigger:parked.kill') ?? 0;
  if (count > most) faults.push(`${String(count)} parked of ${String(most)} sent`);
  return faults;
}

/**
 * Nothing is kept but what is parked; and nothing at all, in the store or on its way there, when that has been delivered,
 * too, by subscribers that have recovered.
 */
async function leftFaults(
  { program, worker, engine }: Scene,
  parked: ReadonlyMap<string, number>,
): Promise<string[]> {
  const faults: string[] = [];
  const check = async (when: string, isRight: (files: number, live: number) => boolean) => {
    // On JetStream none is ever removed.
    if (!engine.removesPayloads) return;
    let found: readonly string[] = [];
    const look = async () => {
      found = payloadFilesOf(program);
      return isRight(found.length, await program.metric('knear_payload_live_objects'));
    };
    await eventually('right', look).catch(() => {
      faults.push(
        `${when}, ${String(found.length)} payloads are left: ${found.slice(0, 3).join()}`,
      );
    });
  };
  await check('after a restart', (files, live) => files === live);
  worker.heal();
  for (const [egress, count] of parked) {
    if (count > 0) faults.push(...(await replay(program, egress)));
  }
  await program.idle(SETTLE_MAX_MS);
  await check('after everything is delivered', (files, live) => files === 0 && live === 0);
  for (const [egress, count] of await readParked(program)) {
    if (count === 0) continue;
    const { stdout } = await program.command('parked', 'list', ...namesOf(egress));
    faults.push(`${String(count)} of ${egress} are parked again: ${stdout.slice(0, 1_000)}`);
  }
  return faults;
}

async function replay(program: Program, egress: string): Promise<string[]> {
  const ran = await program.command('parked', 'replay', ...namesOf(egress), '--all');
  return ran.code === 0 ? [] : [`replay of ${egress}: ${ran.stdout}${ran.stderr}`];
}

/** @param egress as metrics name it: `trigger:name.namespace` */
function namesOf(egress: string): string[] {
  const [, kind = '', name = '', namespace = ''] = /^(\w+):(.+)\.(.+)$/.exec(egress) ?? [];
  return [kind, name, '--namespace', namespace];
}

/** The work, or the reason of the abort, whichever is first. */
async function orAbort<Value>(signal: AbortSignal, work: () => Promise<Value>): Promise<Value> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => {
      reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    if (stop) signal.removeEventListener('abort', stop);
  }
}
