/** The rows in which the program stands against the direct POST and the bare relay, as data; and what follows from them. */
import { foreignCores, runContest, type Contest, type Round } from '../contest.ts';
import type { Backlog } from '../journey.ts';
import type { Options } from '../options.ts';
import type { Attempt, Row } from '../row.ts';
import type { Stage } from '../stage.ts';
import { spread, type Spread } from '../statistics.ts';
import type { RowId } from '../targets.ts';

const KB = 1_024;
const KB64 = 65_536;
/** Not 2^20: the limit of 1 MiB counts the data, and a round number leaves no doubt on which side of it we are. */
const MB = 1_000_000;

const THROUGHPUT: readonly Contest[] = [
  {
    id: 'throughput-1kb',
    title: '1 KB, 16 senders',
    path: { triggers: 1 },
    dataBytes: KB,
    load: { senders: 16 },
  },
  {
    id: 'throughput-64kb',
    title: '64 KB, 16 senders',
    path: { triggers: 1 },
    dataBytes: KB64,
    load: { senders: 16 },
  },
  {
    id: 'throughput-1mb',
    title: '1 MB, 4 senders',
    path: { triggers: 1 },
    dataBytes: MB,
    load: { senders: 4 },
  },
  {
    id: 'throughput-1mb-4',
    title: '1 MB, 4 senders, 4 Triggers',
    path: { triggers: 4 },
    dataBytes: MB,
    load: { senders: 4 },
  },
];

const LATENCY: readonly Contest[] = [
  {
    id: 'latency-1kb-100',
    title: '1 KB at 100/s',
    path: { triggers: 1 },
    dataBytes: KB,
    load: { perSecond: 100 },
  },
  {
    id: 'latency-1kb-2000',
    title: '1 KB at 2,000/s',
    path: { triggers: 1 },
    dataBytes: KB,
    load: { perSecond: 2_000 },
  },
];

const CHAIN: readonly Contest[] = [
  {
    id: 'chain-1-1kb-50',
    title: '1 step, 1 KB at 50/s',
    path: { steps: 1 },
    dataBytes: KB,
    load: { perSecond: 50 },
  },
  {
    id: 'chain-3-1kb-50',
    title: '3 steps, 1 KB at 50/s',
    path: { steps: 3 },
    dataBytes: KB,
    load: { perSecond: 50 },
  },
  {
    id: 'chain-5-1kb-50',
    title: '5 steps, 1 KB at 50/s',
    path: { steps: 5 },
    dataBytes: KB,
    load: { perSecond: 50 },
  },
  {
    id: 'chain-5-64kb-50',
    title: '5 steps, 64 KB at 50/s',
    path: { steps: 5 },
    dataBytes: KB64,
    load: { perSecond: 50 },
  },
  {
    id: 'chain-1-1kb-16',
    title: '1 step, 1 KB, 16 senders',
    path: { steps: 1 },
    dataBytes: KB,
    load: { senders: 16 },
  },
  {
    id: 'chain-3-1kb-16',
    title: '3 steps, 1 KB, 16 senders',
    path: { steps: 3 },
    dataBytes: KB,
    load: { senders: 16 },
  },
  {
    id: 'chain-5-1kb-16',
    title: '5 steps, 1 KB, 16 senders',
    path: { steps: 5 },
    dataBytes: KB,
    load: { senders: 16 },
  },
  {
    id: 'chain-5-64kb-16',
    title: '5 steps, 64 KB, 16 senders',
    path: { steps: 5 },
    dataBytes: KB64,
    load: { senders: 16 },
  },
];

const FAN_OUT: readonly Contest[] = ([1, 16, 100] as const).map((triggers) => ({
  id: `fan-out-${triggers}`,
  title: `fan-out to ${triggers}, 1 KB, 16 senders`,
  path: { triggers },
  dataBytes: KB,
  load: { senders: 16 },
}));

export async function runThroughput(
  stage: Stage,
  options: Options,
  attempt: Attempt,
): Promise<void> {
  for (const contest of THROUGHPUT) await attemptContest(stage, { contest, options, attempt });
}

export async function runLatency(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  for (const contest of LATENCY) await attemptContest(stage, { contest, options, attempt });
}

export async function runChain(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  const rounds = new Map<RowId, readonly Round[]>();
  for (const contest of CHAIN) {
    await attempt(contest.title, async () => {
      const result = await runContest(stage, contest, options);
      rounds.set(contest.id, result.rounds);
      return result.row;
    });
  }
  const [short, long] = [rounds.get('chain-1-1kb-50'), rounds.get('chain-5-1kb-50')];
  if (short && long) await attempt('one more step', () => hopSlope(short, long));
}

/** Saturated, so these rows also show whether a backlog grows while subscribers keep up. */
export async function runFanOut(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  for (const contest of FAN_OUT) {
    await attempt(contest.title, async () => {
      const { row, rounds } = await runContest(stage, contest, options);
      return { ...row, backlog: worstBacklog(rounds) };
    });
  }
}

interface Attempted {
  readonly contest: Contest;
  readonly options: Options;
  readonly attempt: Attempt;
}

async function attemptContest(
  stage: Stage,
  { contest, options, attempt }: Attempted,
): Promise<void> {
  await attempt(contest.title, async () => (await runContest(stage, contest, options)).row);
}

/**
 * What one more step costs, against what it costs the bare relay (one more request from the same process to the same
 * subscriber): from the medians at 1 and at 5 steps. The relay's slope is taken over all rounds, because it is a small
 * difference and a division by the noise of one round would say nothing.
 */
function hopSlope(short: readonly Round[], long: readonly Round[]): Row {
  const slopes = (who: 'sut' | 'relay'): Spread =>
    spread(long.map((round, index) => (round[who].p50Ms - (short[index]?.[who].p50Ms ?? NaN)) / 4));
  const relay = slopes('relay');
  const sut = slopes('sut');
  if (!(relay.median > 0))
    throw new Error('too noisy: the relay took no longer for 5 steps than for 1');
  return {
    id: 'hop-slope',
    title: 'one more step, 1 KB at 50/s',
    durability: 'as above; between steps in one place there is no log',
    unit: 'ms p50',
    measured: sut,
    relay,
    multiple: {
      median: sut.median / relay.median,
      min: sut.min / relay.median,
      max: sut.max / relay.median,
    },
    multipleOf: 'the relay',
    lost: 0, // the rows it is taken from count theirs
    foreignCores: foreignCores([...short, ...long].flatMap((round) => Object.values(round))),
    notes: [],
  };
}

function worstBacklog(rounds: readonly Round[]): Backlog {
  const backlogs = rounds.map(({ sut }) => sut.backlog);
  return backlogs.reduce((worst, backlog) => {
    if (worst.isGrowing !== backlog.isGrowing) return worst.isGrowing ? worst : backlog;
    return backlog.drainMs > worst.drainMs ? backlog : worst;
  });
}
