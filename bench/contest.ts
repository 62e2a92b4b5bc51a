/**
 * A row in which the program stands against its two floors: in each round a direct POST, the bare relay and the program,
 * one right after the other, with the same load; the multiples are taken within a round, so that a machine that grows
 * slower or faster during the run touches all three.
 */
import { BROKER_PATH, MATCHING_TYPE, brokerYaml } from './manifests.ts';
import type { Options } from './options.ts';
import type { Costs, Row } from './row.ts';
import { spread } from './statistics.ts';
import { measure, type Load, type Measurement, type Stage } from './stage.ts';
import type { Sut } from './sut.ts';
import type { RowId } from './targets.ts';

export interface Contest {
  readonly id: RowId;
  readonly title: string;
  /** Events go to a Broker with so many matching Triggers. */
  readonly triggers: number;
  readonly dataBytes: number;
  readonly load: { readonly senders: number } | { readonly perSecond: number };
}

interface Round {
  readonly direct: Measurement;
  readonly relay: Measurement;
  readonly sut: Measurement;
}

interface ContestResult {
  readonly row: Row;
  readonly rounds: readonly Round[];
}

/**
 * Node's compilers need some ten thousand events: after 1.5 s of load knear is half as fast as after 5 s, and stays so then.
 * A chain has events of ten steps meanwhile, a tenth as many: after 5 s it is half as fast as after 15 s.
 */
export const WARM_UP_MS = { floor: 1_000, sut: 5_000, chain: 15_000 };
export const WARM_UP_SENDERS = 8;
/** Open loop: at 50/s and less than this there are too few events for a median that holds. */
const OPEN_LOOP_MIN_MS = 2_000;
/** A generator that is later than this at p99 adds to the p99 of the row, and the row says so. */
const LATE_MS_MAX = 1;

export async function runContest(
  stage: Stage,
  contest: Contest,
  options: Options,
): Promise<ContestResult> {
  const subscriberUrl = `http://127.0.0.1:${stage.subscriber.port}`;
  const plan = { count: contest.triggers, matching: contest.triggers };
  const sut = await stage.engine.start(brokerYaml(subscriberUrl, plan));
  try {
    await stage.relay.call('shape', {
      subscriberPort: stage.subscriber.port,
      steps: 0,
      copies: contest.triggers,
    });
    await runRound(stage, { contest, sut, load: (who) => warmUp(contest, who) });
    const rounds: Round[] = [];
    for (let round = 0; round < options.rounds; round += 1) {
      rounds.push(await runRound(stage, { contest, sut, load: () => loadOf(contest, options.ms) }));
    }
    return { row: toRow(contest, rounds), rounds };
  } finally {
    await sut.discard();
  }
}

interface Setting {
  readonly contest: Contest;
  readonly sut: Sut;
  readonly load: (who: keyof typeof WARM_UP_MS) => Load;
}

async function runRound(stage: Stage, { contest, sut, load }: Setting): Promise<Round> {
  const lanes = contest.triggers;
  const type = MATCHING_TYPE;
  return {
    direct: await measure(stage, {
      aim: { port: stage.subscriber.port, path: '/sink/0' },
      load: load('floor'),
      lanes: 1,
      type,
    }),
    relay: await measure(stage, {
      aim: { port: stage.relay.port, path: '/' },
      load: load('floor'),
      lanes,
      type,
    }),
    sut: await measure(stage, {
      aim: { port: sut.port, path: BROKER_PATH },
      load: load('sut'),
      lanes,
      type,
      watchPid: sut.pid,
    }),
  };
}

function toRow(contest: Contest, rounds: readonly Round[]): Row {
  const lanes = contest.triggers;
  const isLatency = 'perSecond' in contest.load;
  // Higher is better for one, lower for the other; a multiple says how many times worse than the direct POST.
  const figure = (one: Measurement): number => (isLatency ? one.p50Ms : one.deliveriesPerSecond);
  const multiple = ({ direct, sut }: Round): number =>
    isLatency ? figure(sut) / figure(direct) : figure(direct) / figure(sut);
  const suts = rounds.map(({ sut }) => sut);
  const fate = fates(suts);
  return {
    id: contest.id,
    title: contest.title,
    unit: isLatency ? 'ms p50' : lanes > 1 ? 'deliveries/s' : 'ev/s',
    measured: spread(suts.map(figure)),
    direct: spread(rounds.map(({ direct }) => figure(direct))),
    relay: spread(rounds.map(({ relay }) => figure(relay))),
    multiple: spread(rounds.map(multiple)),
    multipleOf: lanes > 1 ? 'direct, per delivery' : 'direct',
    costs: costs(suts),
    ...fate,
    foreignCores: foreignCores(rounds.flatMap((round) => Object.values(round))),
    notes: [...(isLatency ? [p99Note(suts)] : []), ...fate.notes],
  };
}

export function p99Note(measurements: readonly Measurement[]): string {
  return `p99 ${spread(measurements.map(({ p99Ms }) => p99Ms)).median.toFixed(1)} ms`;
}

/** What every row says about the events of its measurements. */
export function fates(measurements: readonly Measurement[]): Pick<Row, 'lost' | 'notes'> {
  const sum = (pick: (one: Measurement) => number): number =>
    measurements.reduce((total, one) => total + pick(one), 0);
  const duplicates = sum((one) => one.duplicates);
  const refused = sum((one) => one.sent - one.accepted);
  const late = Math.max(...measurements.map(({ lateMsP99 }) => lateMsP99));
  return {
    lost: sum((one) => one.lost),
    notes: [
      ...(duplicates > 0 ? [`${duplicates} duplicates`] : []),
      ...(refused > 0 ? [`${refused} refused of ${sum((one) => one.sent)}`] : []),
      ...(late > LATE_MS_MAX ? [`load generator ${late.toFixed(1)} ms late at p99`] : []),
    ],
  };
}

export function foreignCores(measurements: readonly Measurement[]): number {
  return Math.max(...measurements.map((one) => one.foreignCores));
}

/** Of the program under test. */
export function costs(measurements: readonly Measurement[]): Costs {
  return {
    cpuUsPerEvent: spread(measurements.map(({ cpuUsPerEvent }) => cpuUsPerEvent)),
    anonMb: Math.max(...measurements.map(({ anonMb }) => anonMb)),
  };
}

function loadOf({ load, dataBytes }: Contest, ms: number): Load {
  return 'senders' in load
    ? { kind: 'closed', dataBytes, senders: load.senders, until: { ms } }
    : steadyLoad({ dataBytes, perSecond: load.perSecond, ms });
}

export interface SteadyRate {
  readonly dataBytes: number;
  readonly perSecond: number;
  readonly ms: number;
}

/** Open loop, for as long as a median needs. */
export function steadyLoad({ dataBytes, perSecond, ms }: SteadyRate): Load {
  return { kind: 'open', dataBytes, paces: [{ perSecond, ms: Math.max(ms, OPEN_LOOP_MIN_MS) }] };
}

function warmUp({ load, dataBytes }: Contest, who: keyof typeof WARM_UP_MS): Load {
  const senders = 'senders' in load ? load.senders : WARM_UP_SENDERS;
  return { kind: 'closed', dataBytes, senders, until: { ms: WARM_UP_MS[who] } };
}
