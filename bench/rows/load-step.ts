/**
 * Whether hops come back: the load of a chain goes from 0.6 of what it can do to 1.1 and back. Above 1 some events have to
 * go through the log, and what lies there has to be delivered before others may hop again, while the log takes time from the
 * hops. The share of hops must be back at its first level within ten seconds. One round: it is a course, not a figure.
 */
import { nowUs, sleepMs } from '../clock.ts';
import { costs, fates, foreignCores } from '../contest.ts';
import { sharesOf, swingOf, type Reading, type Share } from '../hop-shares.ts';
import { chainPath, chainYaml } from '../manifests.ts';
import {
  HOPS_ON,
  measureDirect,
  measureRelay,
  measureSut,
  warmUpLoad,
  type Told,
} from '../pair.ts';
import { number } from '../report.ts';
import type { Attempt, Row } from '../row.ts';
import type { Pace } from '../schedule.ts';
import type { Load, Measurement, Stage } from '../stage.ts';
import { spread } from '../statistics.ts';
import type { Sut } from '../sut.ts';
import { hopsIn, hopsText } from '../tally.ts';

const KB = 1_024;
const STEPS = 5;
/** Closed loop, and more than are needed for that: what the chain can do. */
const CAPACITY: Load = { kind: 'closed', dataBytes: KB, senders: 32, until: { ms: 3_000 } };
const FLOORS: Load = { ...CAPACITY, until: { ms: 1_000 } };
/** The last one for two seconds more than the target. */
const PACES = [
  { share: 0.6, ms: 4_000 },
  { share: 1.1, ms: 4_000 },
  { share: 0.6, ms: 12_000 },
] as const;
const STEP = { upAtMs: PACES[0].ms, downAtMs: PACES[0].ms + PACES[1].ms };
const READ_EVERY_MS = 1_000;

interface Taken {
  readonly direct: Measurement;
  readonly relay: Measurement;
  readonly capacity: Measurement;
  readonly course: Told;
  readonly shares: readonly Share[];
}

export async function runLoadStep(stage: Stage, attempt: Attempt): Promise<void> {
  await attempt('load step', async () => toRow(await takeStep(stage)));
}

async function takeStep(stage: Stage): Promise<Taken> {
  const url = `http://127.0.0.1:${stage.subscriber.port}`;
  const sut = await stage.engine.start(chainYaml(url, STEPS), HOPS_ON);
  try {
    const path = chainPath();
    await measureRelay(stage, STEPS, warmUpLoad('floor'));
    await measureSut(stage, sut, { path, load: warmUpLoad('chain') });
    const direct = await measureDirect(stage, FLOORS);
    const relay = await measureRelay(stage, STEPS, FLOORS);
    const capacity = await measureSut(stage, sut, { path, load: CAPACITY });
    const paces = PACES.map(({ share, ms }) => ({
      ms,
      perSecond: share * capacity.eventsPerSecond,
    }));
    return { direct, relay, capacity, ...(await follow(stage, sut, paces)) };
  } finally {
    await sut.discard();
  }
}

/** Sends, and reads the program's counters every second meanwhile. */
async function follow(
  stage: Stage,
  sut: Sut,
  paces: readonly Pace[],
): Promise<Pick<Taken, 'course' | 'shares'>> {
  const totalMs = paces.reduce((sum, { ms }) => sum + ms, 0);
  const load: Load = { kind: 'open', dataBytes: KB, paces };
  const [course, readings] = await Promise.all([
    measureSut(stage, sut, { path: chainPath(), load }),
    readAlong(sut, totalMs),
  ]);
  return { course, shares: sharesOf(readings) };
}

async function readAlong(sut: Sut, totalMs: number): Promise<Reading[]> {
  const startUs = nowUs();
  const readings: Reading[] = [];
  for (let dueMs = 0; dueMs <= totalMs; dueMs += READ_EVERY_MS) {
    await sleepMs(Math.max(0, dueMs - (nowUs() - startUs) / 1e3));
    const hops = hopsIn(await sut.metrics());
    readings.push({ ...hops, atMs: dueMs });
  }
  return readings;
}

function toRow({ direct, relay, capacity, course, shares }: Taken): Row {
  const swing = swingOf(shares, STEP);
  const fate = fates([course]);
  const perSecond = (one: Measurement): string => `${number(one.eventsPerSecond)}`;
  const words = PACES.map(({ share }) => share).join(', ');
  return {
    id: 'load-step',
    title: `hops back after a load of ${words}, ${STEPS} steps`,
    unit: 's',
    measured: spread([swing.backAfterMs / 1e3]),
    costs: costs([course]),
    ...fate,
    foreignCores: foreignCores([direct, relay, capacity, course]),
    notes: [
      `1 is ${perSecond(capacity)} ev/s (direct ${perSecond(direct)}, relay ${perSecond(relay)})`,
      `share of hops ${number(swing.level)}, at least ${number(swing.lowest)}`,
      `${hopsText([course])} over all`,
      `by second: ${bySecond(shares)}`,
      ...fate.notes,
    ],
  };
}

/** `1 1 1 1 | 0.7 0.5 0.5 0.6 | 0.9 1 1`: one figure a second, a stroke where the load changes. */
function bySecond(shares: readonly Share[]): string {
  return shares
    .map(({ atMs, taken }) => {
      const isLast = atMs === STEP.upAtMs || atMs === STEP.downAtMs;
      return `${taken.toFixed(2)}${isLast ? ' |' : ''}`;
    })
    .join(' ');
}
