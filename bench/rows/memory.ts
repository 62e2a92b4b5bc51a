/**
 * How much memory large events take while they pass: anonymous memory at its peak, above what it was before. The program
 * is new in each round and has seen small events only, because memory that a large one has taken before would be part of
 * the value before.
 */
import { costs, fates, foreignCores, WARM_UP_MS } from '../contest.ts';
import { BROKER_PATH, MATCHING_TYPE, brokerYaml } from '../manifests.ts';
import type { Options } from '../options.ts';
import type { Attempt, Row } from '../row.ts';
import { measure, type Load, type Measurement, type Stage } from '../stage.ts';
import { spread } from '../statistics.ts';
import type { RowId } from '../targets.ts';

const MB = 1_000_000;
const GIB = 1_073_741_824;
const TRIGGERS = 2;
/** Largest event of these rows, which is more than the setting allows unless it is told to. */
const FLAGS = ['--event-max', '1Gi'];
const SMALL: Load = {
  kind: 'closed',
  dataBytes: 1_024,
  senders: 8,
  until: { ms: WARM_UP_MS.sut },
};

interface Crowd {
  readonly id: RowId;
  readonly title: string;
  /** All at once. */
  readonly events: number;
  readonly dataBytes: number;
}

const CROWDS: readonly Crowd[] = [
  {
    id: 'memory-8-64mb',
    title: 'memory for eight events of 64 MB, 2 Triggers',
    events: 8,
    dataBytes: 64 * MB,
  },
  {
    id: 'memory-1-1gib',
    title: 'memory for one event of 1 GiB, 2 Triggers',
    events: 1,
    dataBytes: GIB,
  },
];

export async function runMemory(
  stage: Stage,
  { rounds }: Options,
  attempt: Attempt,
): Promise<void> {
  for (const crowd of CROWDS) {
    await attempt(crowd.title, async () => {
      const taken: Measurement[] = [];
      for (let round = 0; round < rounds; round += 1) taken.push(await pass(stage, crowd));
      return toRow(crowd, taken);
    });
  }
}

async function pass(stage: Stage, { events, dataBytes }: Crowd): Promise<Measurement> {
  const url = `http://127.0.0.1:${stage.subscriber.port}`;
  const plan = { count: TRIGGERS, matching: TRIGGERS };
  const sut = await stage.engine.start(brokerYaml(url, plan), FLAGS);
  try {
    const course = {
      aim: { port: sut.port, path: BROKER_PATH },
      lanes: TRIGGERS,
      type: MATCHING_TYPE,
      watchPid: sut.pid,
    };
    await measure(stage, { ...course, load: SMALL });
    const load: Load = { kind: 'closed', dataBytes, senders: events, until: { events } };
    return await measure(stage, { ...course, load });
  } finally {
    await sut.discard();
  }
}

function toRow({ id, title, dataBytes }: Crowd, rounds: readonly Measurement[]): Row {
  const fate = fates(rounds);
  const before = rounds.map(({ anonMb, anonGrowthMb }) => anonMb - anonGrowthMb);
  const rates = rounds.map((one) => (one.deliveriesPerSecond * dataBytes) / MB);
  return {
    id,
    title,
    unit: 'MB above before',
    measured: spread(rounds.map(({ anonGrowthMb }) => anonGrowthMb)),
    costs: costs(rounds),
    ...fate,
    foreignCores: foreignCores(rounds),
    notes: [
      `${Math.round(spread(before).median)} MB before`,
      `${Math.round(spread(rates).median)} MB/s delivered`,
      ...fate.notes,
    ],
  };
}
