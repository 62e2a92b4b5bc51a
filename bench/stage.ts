/**
 * The processes that every row uses (load generator, subscriber, relay), and the one way to measure: send, wait until
 * nothing more arrives, join what was sent with what came.
 */
import { nowUs, sleepMs } from './clock.ts';
import { joinJourney, type Journey } from './journey.ts';
import { openEngine, type Engine, type EngineName } from './engine.ts';
import { createChildren, type Child, type Children } from './processes/children.ts';
import type {
  Aim,
  ClosedLoop,
  LoadCalls,
  OpenLoop,
  RelayCalls,
  Sent,
  SubscriberCalls,
} from './processes/protocol.ts';
import { machineCpuUs, usageOf, writtenBytesOf } from './system.ts';

export interface Stage {
  readonly children: Children;
  readonly load: Child<LoadCalls>;
  readonly subscriber: Child<SubscriberCalls>;
  readonly relay: Child<RelayCalls>;
  readonly engine: Engine;
  /** Numbers the measurements, so that stragglers of one are not counted in the next. */
  nextRun(): number;
}

/** A load without address: what the rows' tables hold. */
export type Load = LoadOf<ClosedLoop> | LoadOf<OpenLoop>;
type LoadOf<Job> = Omit<Job, 'aim' | 'run' | 'type'>;

export interface Measurement extends Journey {
  /** CPU time of the watched process for each event, and the most anonymous memory it had. */
  readonly cpuUsPerEvent: number;
  readonly anonMb: number;
  /** That, above what it had before. */
  readonly anonGrowthMb: number;
  /** Bytes that the watched process made the kernel write to a disk. */
  readonly writtenBytes: number;
  /** Cores that processes other than ours used meanwhile: above a few per cent, the figures are not to be trusted. */
  readonly foreignCores: number;
}

export interface Course {
  readonly aim: Aim;
  readonly load: Load;
  /** How many deliveries each event leads to. */
  readonly lanes: number;
  readonly type: string;
  /** The process whose CPU and memory are noted. */
  readonly watchPid?: number;
  /** Of other processes that work for the same measurement. */
  readonly alsoPids?: readonly number[];
}

/** Often enough to see a peak of memory that lasts, cheap enough to be invisible (50 us each). */
const SAMPLE_EVERY_MS = 50;
/** When not a byte arrived for so long, none will: longer than the first retries' backoff (0.2, 0.4, 0.8 s). */
const QUIET_MS = 2_500;
/** 8 GB, the most that a row delivers after its last 202, at 70 MB/s. */
const DRAIN_MAX_MS = 120_000;

export async function openStage(engine: EngineName): Promise<Stage> {
  const children = createChildren();
  let run = 0;
  const [load, subscriber, relay] = await Promise.all([
    children.start<LoadCalls>('load'),
    children.start<SubscriberCalls>('subscriber'),
    children.start<RelayCalls>('relay'),
  ]);
  return {
    children,
    load,
    subscriber,
    relay,
    engine: openEngine(engine, children),
    nextRun() {
      run += 1;
      return run;
    },
  };
}

export async function measure(stage: Stage, course: Course): Promise<Measurement> {
  const { subscriber, load } = stage;
  const run = stage.nextRun();
  await subscriber.call('begin', { run });
  const meter = startMeter(stage, course);
  const sent = await load.call('load', { ...course.load, aim: course.aim, type: course.type, run });
  await untilDrained(stage, sent, course.lanes);
  const metered = meter.stop();
  const journey = joinJourney(sent, await subscriber.call('collect', null), course);
  return {
    ...journey,
    cpuUsPerEvent: (metered.watchedCpuUs * course.lanes) / journey.deliveries,
    anonMb: metered.anonBytes / 1e6,
    anonGrowthMb: metered.anonGrowthBytes / 1e6,
    writtenBytes: metered.writtenBytes,
    foreignCores: metered.foreignCores,
  };
}

/** Waits for every promised delivery, or until nothing more comes. */
async function untilDrained({ subscriber }: Stage, { status }: Sent, lanes: number): Promise<void> {
  const promised = status.filter((code) => code >= 200 && code < 300).length * lanes;
  const giveUpUs = nowUs() + DRAIN_MAX_MS * 1e3;
  let { deliveries, bytes } = await subscriber.call('count', null);
  let movedUs = nowUs();
  while (deliveries < promised && nowUs() < Math.min(giveUpUs, movedUs + QUIET_MS * 1e3)) {
    await sleepMs(20);
    const before = bytes;
    ({ deliveries, bytes } = await subscriber.call('count', null));
    if (bytes > before) movedUs = nowUs();
  }
}

interface Metered {
  readonly watchedCpuUs: number;
  readonly anonBytes: number;
  readonly anonGrowthBytes: number;
  readonly writtenBytes: number;
  readonly foreignCores: number;
}

function startMeter(
  { load, subscriber, relay, engine }: Stage,
  { watchPid = 0, alsoPids = [] }: Course,
): { stop(): Metered } {
  const own = [process.pid, load.pid, subscriber.pid, relay.pid];
  const ours = [...own, watchPid, ...engine.pids(), ...alsoPids];
  const cpuOf = (pids: readonly number[]): number =>
    pids.reduce((sum, pid) => sum + usageOf(pid).cpuUs, 0);
  const start = {
    us: nowUs(),
    ours: cpuOf(ours),
    watched: cpuOf([watchPid]),
    machine: machineCpuUs(),
    anonBytes: usageOf(watchPid).anonBytes,
    writtenBytes: writtenBytesOf(watchPid),
  };
  let { anonBytes } = start;
  const timer = setInterval(() => {
    anonBytes = Math.max(anonBytes, usageOf(watchPid).anonBytes);
  }, SAMPLE_EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      const oursUs = cpuOf(ours) - start.ours;
      const foreignUs = machineCpuUs() - start.machine - oursUs;
      return {
        watchedCpuUs: cpuOf([watchPid]) - start.watched,
        anonBytes,
        anonGrowthBytes: anonBytes - start.anonBytes,
        writtenBytes: writtenBytesOf(watchPid) - start.writtenBytes,
        foreignCores: Math.max(0, foreignUs) / (nowUs() - start.us),
      };
    },
  };
}
