/**
 * From which size on the payload store is the better place for data than the log: two programs, one that claims
 * everything and one that keeps everything in its log, take turns at the same load. The setting between the two is
 * claimCheckInlineMax.
 */
import { WARM_UP_MS } from '../contest.ts';
import type { Options } from '../options.ts';
import type { Attempt, Row } from '../row.ts';
import type { Load, Measurement, Stage } from '../stage.ts';
import { crossingOf, spread, type Spread } from '../statistics.ts';
import { commonRow, runRivals, type RivalRound } from './rivals.ts';

const KIB = 1_024;
const SENDERS = 16;
const CLAIMED = ['--claim-check-inline-max', '0'];
/** The most that there is. */
const INLINE = ['--claim-check-inline-max', '1Mi'];
/** The last one is not 1 MiB: the setting counts attributes, too, so that no program would keep it in its log. */
const SIZES = [
  { id: 'inline-16kib', title: '16 KiB', dataBytes: 16 * KIB },
  { id: 'inline-64kib', title: '64 KiB', dataBytes: 64 * KIB },
  { id: 'inline-256kib', title: '256 KiB', dataBytes: 256 * KIB },
  { id: 'inline-1mb', title: '1 MB', dataBytes: 1_000_000 },
] as const;
/** What one round differs from the next by, on a quiet machine. */
const NOISE = 1.05;

interface Duel {
  readonly size: (typeof SIZES)[number];
  /** `plain` keeps all in its log, `other` claims all. */
  readonly rounds: readonly RivalRound[];
}

export async function runInline(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  const duels: Duel[] = [];
  for (const size of SIZES) {
    await attempt(`claimed, ${size.title}`, async () => {
      const duel = { size, rounds: await fight(stage, size.dataBytes, options) };
      duels.push(duel);
      return toRow(duel);
    });
  }
  if (duels.length > 1) await attempt('crossing', () => crossingRow(duels));
}

async function fight(stage: Stage, dataBytes: number, options: Options): Promise<RivalRound[]> {
  const plan = { count: 1, matching: 1 };
  const load = (ms: number): Load => ({
    kind: 'closed',
    dataBytes,
    senders: SENDERS,
    until: { ms },
  });
  return runRivals(stage, {
    plain: { plan, flags: INLINE },
    other: { plan, flags: CLAIMED },
    load: load(options.ms),
    warmUp: load(WARM_UP_MS.sut),
    rounds: options.rounds,
  });
}

function toRow({ size, rounds }: Duel): Row {
  const common = commonRow(rounds);
  const ratios = spread(rounds.map(ratioOf));
  return {
    ...common,
    id: size.id,
    title: `claimed, ${size.title}, ${SENDERS} senders`,
    unit: 'ev/s',
    measured: spread(rounds.map(({ other }) => other.eventsPerSecond)),
    multiple: ratios,
    multipleOf: 'in the log',
    notes: [
      `in the log ${Math.round(spread(rounds.map(({ plain }) => plain.eventsPerSecond)).median)} ev/s: ${winner(ratios)}`,
      `written a byte: ${writtenPerByte(rounds, 'other', size.dataBytes)}, in the log ${writtenPerByte(rounds, 'plain', size.dataBytes)}`,
      ...common.notes,
    ],
  };
}

function crossingRow(duels: readonly Duel[]): Row {
  const medians = duels.map(({ size, rounds }) => ({
    size: size.dataBytes,
    ratio: spread(rounds.map(ratioOf)).median,
  }));
  const bytes = crossingOf(medians);
  const all = medians.every(({ ratio }) => ratio > 1) ? 'the log' : 'the payload store';
  return {
    id: 'inline-crossing',
    title: 'from this size on, the payload store is faster',
    unit: 'KiB',
    // Without a crossing there is no size, which is printed as "-".
    measured: spread([bytes === undefined ? NaN : bytes / KIB]),
    lost: 0, // the rows it is taken from count theirs
    foreignCores: 0, // and say who disturbed them
    notes: bytes === undefined ? [`no such size: ${all} is faster at all of these`] : [],
  };
}

/** How many times faster the log is. */
function ratioOf({ plain, other }: RivalRound): number {
  return plain.eventsPerSecond / other.eventsPerSecond;
}

function winner({ median }: Spread): string {
  if (median > NOISE) return 'the log wins';
  return median < 1 / NOISE ? 'the payload store wins' : 'no difference';
}

function writtenPerByte(
  rounds: readonly RivalRound[],
  who: 'plain' | 'other',
  dataBytes: number,
): string {
  const perByte = ({ writtenBytes, sent }: Measurement): number =>
    writtenBytes / (sent * dataBytes);
  return spread(rounds.map((round) => perByte(round[who]))).median.toFixed(2);
}
