/**
 * Rows in which the program stands against itself under other resources or flags: many Triggers of which one matches, and
 * a subscriber that hangs beside a healthy one; `inline.ts` has more. Both programs live at the same time and take turns,
 * so that a machine that grows slower touches both.
 */
import { costs, fates, foreignCores, WARM_UP_MS } from '../contest.ts';
import { BROKER_PATH, MATCHING_TYPE, brokerYaml, type TriggerPlan } from '../manifests.ts';
import type { Options } from '../options.ts';
import type { Attempt, Row } from '../row.ts';
import { measure, type Load, type Measurement, type Stage } from '../stage.ts';
import { spread } from '../statistics.ts';
import type { Sut } from '../sut.ts';
import type { RowId } from '../targets.ts';

const KB = 1_024;
/** Of which one matches. */
const TRIGGER_COUNTS = [
  { id: 'triggers-100', count: 100 },
  { id: 'triggers-1000', count: 1_000 },
  { id: 'triggers-10000', count: 10_000 },
] as const satisfies readonly TriggerCount[];
const SATURATED = { kind: 'closed', senders: 16, dataBytes: KB } as const;
/** Far from saturation, so that p99 is the program's and not the queue's; 1,000 events in two seconds. */
const HANGING_PER_SECOND = 500;
const HANGING_MS_MIN = 4_000;
const WARM_UP: Load = { ...SATURATED, until: { ms: WARM_UP_MS.sut } };

export async function runTriggers(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  for (const { id, count } of TRIGGER_COUNTS) {
    await attempt(`${count} Triggers`, async () => {
      const rounds = await runRivals(stage, {
        plain: { plan: { count: 1, matching: 1 } },
        other: { plan: { count, matching: 1 } },
        load: { ...SATURATED, until: { ms: options.ms } },
        rounds: options.rounds,
      });
      return triggersRow({ id, count }, rounds);
    });
  }
}

export async function runHanging(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  const ms = Math.max(options.ms, HANGING_MS_MIN);
  await attempt('hanging subscriber', async () => {
    const rounds = await runRivals(stage, {
      plain: { plan: { count: 1, matching: 1 } },
      other: { plan: { count: 1, matching: 1, hasHanging: true } },
      load: { kind: 'open', paces: [{ perSecond: HANGING_PER_SECOND, ms }], dataBytes: KB },
      rounds: options.rounds,
    });
    return hangingRow(rounds);
  });
}

interface TriggerCount {
  readonly id: RowId;
  readonly count: number;
}

interface Rival {
  readonly plan: TriggerPlan;
  readonly flags?: readonly string[];
}

interface Rivalry {
  readonly plain: Rival;
  readonly other: Rival;
  readonly load: Load;
  /** Events of 1 KB if absent. */
  readonly warmUp?: Load;
  readonly rounds: number;
}

export interface RivalRound {
  readonly plain: Measurement;
  readonly other: Measurement;
  /** From the start of the other program to its first 200 of /readyz. */
  readonly otherReadyMs: number;
}

export async function runRivals(stage: Stage, rivalry: Rivalry): Promise<RivalRound[]> {
  const url = `http://127.0.0.1:${stage.subscriber.port}`;
  const start = async ({ plan, flags }: Rival): Promise<Sut> =>
    stage.engine.start(brokerYaml(url, plan), flags);
  const plain = await start(rivalry.plain);
  try {
    const other = await start(rivalry.other);
    try {
      return await takeTurns(stage, { plain, other }, rivalry);
    } finally {
      await other.discard();
    }
  } finally {
    await plain.discard();
  }
}

interface Pair {
  readonly plain: Sut;
  readonly other: Sut;
}

async function takeTurns(stage: Stage, pair: Pair, rivalry: Rivalry): Promise<RivalRound[]> {
  const turn = async (sut: Sut, load: Load): Promise<Measurement> =>
    measure(stage, {
      aim: { port: sut.port, path: BROKER_PATH },
      load,
      lanes: 1,
      type: MATCHING_TYPE,
      watchPid: sut.pid,
    });
  const { warmUp = WARM_UP } = rivalry;
  await turn(pair.plain, warmUp);
  await turn(pair.other, warmUp);
  const rounds: RivalRound[] = [];
  for (let round = 0; round < rivalry.rounds; round += 1) {
    rounds.push({
      plain: await turn(pair.plain, rivalry.load),
      other: await turn(pair.other, rivalry.load),
      otherReadyMs: pair.other.readyMs,
    });
  }
  return rounds;
}

function triggersRow({ id, count }: TriggerCount, rounds: readonly RivalRound[]): Row {
  const perSecond = (one: Measurement): number => one.eventsPerSecond;
  const common = commonRow(rounds);
  const readyMs = Math.max(...rounds.map(({ otherReadyMs }) => otherReadyMs));
  return {
    ...common,
    notes: [...common.notes, `ready after ${Math.round(readyMs)} ms`],
    id,
    title: `${count.toLocaleString('en')} Triggers, one matches, 1 KB`,
    unit: 'ev/s',
    measured: spread(rounds.map(({ other }) => perSecond(other))),
    multiple: spread(rounds.map(({ plain, other }) => perSecond(plain) / perSecond(other))),
    multipleOf: 'one Trigger',
  };
}

function hangingRow(rounds: readonly RivalRound[]): Row {
  return {
    ...commonRow(rounds),
    id: 'hanging',
    title: `1 KB at ${HANGING_PER_SECOND}/s beside a subscriber that hangs`,
    unit: 'ms p99',
    measured: spread(rounds.map(({ other }) => other.p99Ms)),
    multiple: spread(rounds.map(({ plain, other }) => other.p99Ms / plain.p99Ms)),
    multipleOf: 'the same without',
  };
}

/** What such a row says whatever it is about. */
export function commonRow(
  rounds: readonly RivalRound[],
): Pick<Row, 'costs' | 'lost' | 'foreignCores' | 'notes'> {
  const others = rounds.map(({ other }) => other);
  return {
    costs: costs(others),
    foreignCores: foreignCores(rounds.flatMap((round) => Object.values(round))),
    ...fates(others),
  };
}
