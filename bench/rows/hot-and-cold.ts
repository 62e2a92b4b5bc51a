/**
 * Whether a chain hurts others: its steps share one subscriber that does five milliseconds of work for each event, with
 * few workers, and is busy nearly all the time; the events that are measured go to another subscriber, through the same
 * program. Hops hold on to what they have, so others might have to wait. The same without hops is what it is held against.
 */
import { nowUs, sleepMs } from '../clock.ts';
import { fates, foreignCores } from '../contest.ts';
import { BROKER_PATH, MATCHING_TYPE, brokerYaml, chainPath, chainYaml } from '../manifests.ts';
import type { Options } from '../options.ts';
import {
  closePair,
  inTurn,
  measureDirect,
  measureRelay,
  measureSut,
  openPair,
  warmUpLoad,
  type Pair,
  type Told,
} from '../pair.ts';
import type { Child } from '../processes/children.ts';
import { WORK, type LoadCalls } from '../processes/protocol.ts';
import { number } from '../report.ts';
import type { Attempt, Row } from '../row.ts';
import type { Load, Measurement, Stage } from '../stage.ts';
import { median, spread } from '../statistics.ts';
import type { Sut } from '../sut.ts';

const KB = 1_024;
const STEPS = 5;
/** Of what the hot subscriber can do. */
const HOT_SHARE = 0.9;
const COLD_PER_SECOND = 200;
/** 600 events, so that a p99 is not the worst one alone. */
const MS_MIN = 3_000;
/** The chain is under way before the cold events are, and until after them. */
const HEAD_START_MS = 500;
/** Without work for so long, nothing is on its way any more: some ten times what a step takes beside the work. */
const IDLE_MS = 100;
const IDLE_MAX_MS = 30_000;
/** Enough to keep all workers busy. */
const CALIBRATION = { senders: 2 * WORK.workers, ms: 1_000 };

interface Scene {
  readonly stage: Stage;
  readonly pair: Pair;
  /** Drives the chain. */
  readonly driver: Child<LoadCalls>;
  /** What the hot subscriber can do. */
  readonly callsPerSecond: number;
  readonly ms: number;
}

interface Beside {
  readonly cold: Told;
  /** Of the time of all workers. */
  readonly busyShare: number;
}

interface Round {
  readonly direct: Measurement;
  readonly relay: Measurement;
  /** Without the chain. */
  readonly alone: Measurement;
  readonly on: Beside;
  readonly off: Beside;
}

export async function runHotAndCold(
  stage: Stage,
  options: Options,
  attempt: Attempt,
): Promise<void> {
  await attempt('hot and cold', async () => toRow(await takeRounds(stage, options)));
}

async function takeRounds(stage: Stage, { ms, rounds }: Options): Promise<Round[]> {
  const url = `http://127.0.0.1:${stage.subscriber.port}`;
  const cold = brokerYaml(url, { count: 1, matching: 1 });
  const pair = await openPair(stage, `${chainYaml(url, STEPS, '/work')}---\n${cold}`);
  try {
    const driver = await stage.children.start<LoadCalls>('load');
    const callsPerSecond = await calibrate(stage, driver);
    const scene = { stage, pair, driver, callsPerSecond, ms: Math.max(ms, MS_MIN) };
    await warmUp(scene);
    const taken: Round[] = [];
    for (let round = 0; round < rounds; round += 1) taken.push(await takeRound(scene, round));
    return taken;
  } finally {
    await closePair(pair);
  }
}

/** Timers are late, so the workers do less than they would if they waited as long as they should. */
async function calibrate({ subscriber }: Stage, driver: Child<LoadCalls>): Promise<number> {
  const { senders, ms } = CALIBRATION;
  const { status } = await driver.call('load', {
    kind: 'closed',
    aim: { port: subscriber.port, path: '/work' },
    type: MATCHING_TYPE,
    run: 0, // no measurement's
    dataBytes: KB,
    senders,
    until: { ms },
  });
  return status.length / (ms / 1e3);
}

async function warmUp({ stage, pair }: Scene): Promise<void> {
  await measureDirect(stage, warmUpLoad('floor'));
  await measureRelay(stage, 0, warmUpLoad('floor'));
  const load = warmUpLoad('sut');
  await inTurn(pair, 0, async (sut) => measureSut(stage, sut, { path: BROKER_PATH, load }));
}

async function takeRound(scene: Scene, round: number): Promise<Round> {
  const { stage, pair, ms } = scene;
  const load: Load = {
    kind: 'open',
    dataBytes: KB,
    paces: [{ perSecond: COLD_PER_SECOND, ms }],
  };
  return {
    direct: await measureDirect(stage, load),
    relay: await measureRelay(stage, 0, load),
    alone: await measureSut(stage, pair.on, { path: BROKER_PATH, load }),
    ...(await inTurn(pair, round, async (sut) => beside(scene, sut, load))),
  };
}

/** Cold events while the chain keeps the hot subscriber busy. Resolves when the chain has come to its end, too. */
async function beside(scene: Scene, sut: Sut, load: Load): Promise<Beside> {
  const { stage, driver, callsPerSecond, ms } = scene;
  const hot = driver.call('load', {
    kind: 'open',
    aim: { port: sut.port, path: chainPath() },
    type: MATCHING_TYPE,
    run: stage.nextRun(), // not the cold ones', so they are not counted
    dataBytes: KB,
    paces: [{ perSecond: (HOT_SHARE * callsPerSecond) / STEPS, ms: ms + 2 * HEAD_START_MS }],
  });
  const measured = async (): Promise<Beside> => {
    await sleepMs(HEAD_START_MS);
    const before = { workedMs: await workedMs(stage), us: nowUs() };
    const course = { path: BROKER_PATH, load, alsoPids: [driver.pid] };
    const cold = await measureSut(stage, sut, course);
    const workers = (WORK.workers * (nowUs() - before.us)) / 1e3;
    return { cold, busyShare: ((await workedMs(stage)) - before.workedMs) / workers };
  };
  const [result] = await Promise.all([measured(), hot]);
  await untilIdle(stage);
  return result;
}

async function workedMs({ subscriber }: Stage): Promise<number> {
  return (await subscriber.call('count', null)).workedMs;
}

async function untilIdle(stage: Stage): Promise<void> {
  const giveUpUs = nowUs() + IDLE_MAX_MS * 1e3;
  let before = NaN;
  let now = await workedMs(stage);
  while (now !== before) {
    if (nowUs() > giveUpUs) throw new Error('the chain does not come to its end');
    before = now;
    await sleepMs(IDLE_MS);
    now = await workedMs(stage);
  }
}

function toRow(rounds: readonly Round[]): Row {
  const [ons, offs] = [rounds.map(({ on }) => on), rounds.map(({ off }) => off)];
  const p99 = (of: (round: Round) => Measurement): number[] =>
    rounds.map((round) => of(round).p99Ms);
  const colds = [...ons, ...offs].map(({ cold }) => cold);
  const floors = rounds.flatMap(({ direct, relay, alone }) => [direct, relay, alone]);
  const fate = fates(colds);
  const ratio = spread(rounds.map(({ on, off }) => on.cold.p99Ms / off.cold.p99Ms));
  const hops = median(ons.map(({ cold: { tally } }) => tally.hopsTaken));
  return {
    id: 'hot-and-cold',
    title: `1 KB at ${COLD_PER_SECOND}/s beside a chain with a hot subscriber`,
    unit: 'ms p99',
    measured: spread(p99(({ on }) => on.cold)),
    hopsOff: { measured: spread(p99(({ off }) => off.cold)), ratio },
    direct: spread(p99(({ direct }) => direct)),
    relay: spread(p99(({ relay }) => relay)),
    multiple: spread(rounds.map(({ on, alone }) => on.cold.p99Ms / alone.p99Ms)),
    multipleOf: 'the same without the chain',
    ...fate,
    foreignCores: foreignCores([...colds, ...floors]),
    notes: [
      `without the chain p99 ${number(median(p99(({ alone }) => alone)))} ms`,
      `hot subscriber busy ${busyText(ons)}, off ${busyText(offs)}`,
      `${Math.round(hops)} hops meanwhile`,
      ...fate.notes,
    ],
  };
}

function busyText(turns: readonly Beside[]): string {
  return `${Math.round(median(turns.map(({ busyShare }) => busyShare)) * 100)} %`;
}
