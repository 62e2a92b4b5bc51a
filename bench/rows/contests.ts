/** The rows in which the program stands against the direct POST and the bare relay, as data; and what follows from them. */
import { runContest, type Contest } from '../contest.ts';
import type { Backlog } from '../journey.ts';
import type { Options } from '../options.ts';
import type { Attempt } from '../row.ts';
import type { Measurement, Stage } from '../stage.ts';

const KB = 1_024;
const KB64 = 65_536;
/** Not 2^20: the limit of 1 MiB counts the data, and a round number leaves no doubt on which side of it we are. */
const MB = 1_000_000;

const THROUGHPUT: readonly Contest[] = [
  {
    id: 'throughput-1kb',
    title: '1 KB, 16 senders',
    triggers: 1,
    dataBytes: KB,
    load: { senders: 16 },
  },
  {
    id: 'throughput-64kb',
    title: '64 KB, 16 senders',
    triggers: 1,
    dataBytes: KB64,
    load: { senders: 16 },
  },
  {
    id: 'throughput-1mb',
    title: '1 MB, 4 senders',
    triggers: 1,
    dataBytes: MB,
    load: { senders: 4 },
  },
  {
    id: 'throughput-1mb-4',
    title: '1 MB, 4 senders, 4 Triggers',
    triggers: 4,
    dataBytes: MB,
    load: { senders: 4 },
  },
];

const LATENCY: readonly Contest[] = [
  {
    id: 'latency-1kb-100',
    title: '1 KB at 100/s',
    triggers: 1,
    dataBytes: KB,
    load: { perSecond: 100 },
  },
  {
    id: 'latency-1kb-2000',
    title: '1 KB at 2,000/s',
    triggers: 1,
    dataBytes: KB,
    load: { perSecond: 2_000 },
  },
];

const FAN_OUT: readonly Contest[] = ([1, 16, 100] as const).map((triggers) => ({
  id: `fan-out-${triggers}`,
  title: `fan-out to ${triggers}, 1 KB, 16 senders`,
  triggers,
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

/** Saturated, so these rows also show whether a backlog grows while subscribers keep up. */
export async function runFanOut(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  for (const contest of FAN_OUT) {
    await attempt(contest.title, async () => {
      const { row, rounds } = await runContest(stage, contest, options);
      return { ...row, backlog: worstBacklog(rounds.map(({ sut }) => sut)) };
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

function worstBacklog(suts: readonly Measurement[]): Backlog {
  const backlogs = suts.map(({ backlog }) => backlog);
  return backlogs.reduce((worst, backlog) => {
    if (worst.isGrowing !== backlog.isGrowing) return worst.isGrowing ? worst : backlog;
    return backlog.drainMs > worst.drainMs ? backlog : worst;
  });
}
