/**
 * Chains of Channels, with local hops on and off, against the direct POST and the bare relay.
 *
 * A row is judged with hops on. Rows of one size of data share a pair of programs, and rows of one load share their rounds:
 * in each, the direct POST once, then for every length the relay, hops on and hops off. A chain of three steps is the end of
 * one of ten.
 */
import { fates, foreignCores, costs, p99Note, steadyLoad } from '../contest.ts';
import { chainPath, chainYaml } from '../manifests.ts';
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
import { number } from '../report.ts';
import type { Attempt, Row } from '../row.ts';
import type { Load, Measurement, Stage } from '../stage.ts';
import { median, spread } from '../statistics.ts';
import { hopsText } from '../tally.ts';
import type { RowId } from '../targets.ts';

const KB = 1_024;
/** As in the rows of single Triggers, see there. */
const MB = 1_000_000;

interface Length {
  readonly id: RowId;
  readonly steps: number;
}

interface Series {
  readonly title: string;
  readonly dataBytes: number;
  readonly load: { readonly perSecond: number } | Senders;
  readonly lengths: readonly Length[];
}

interface Senders {
  readonly senders: number;
  /**
   * Of large data, the program gets so many events for each second of a measurement, about what it can do: the door takes
   * them faster than five steps can, and the rest would have to be waited for.
   */
  readonly eventsPerSecond?: number;
}

const SERIES: readonly (readonly Series[])[] = [
  [
    {
      title: '1 KB at 50/s',
      dataBytes: KB,
      load: { perSecond: 50 },
      lengths: [
        { id: 'chain-1-1kb-50', steps: 1 },
        { id: 'chain-3-1kb-50', steps: 3 },
        { id: 'chain-5-1kb-50', steps: 5 },
        { id: 'chain-10-1kb-50', steps: 10 },
      ],
    },
    {
      title: '1 KB, 16 senders',
      dataBytes: KB,
      load: { senders: 16 },
      lengths: [
        { id: 'chain-1-1kb-16', steps: 1 },
        { id: 'chain-3-1kb-16', steps: 3 },
        { id: 'chain-5-1kb-16', steps: 5 },
      ],
    },
  ],
  [
    {
      title: '64 KB at 50/s',
      dataBytes: 64 * KB,
      load: { perSecond: 50 },
      lengths: [{ id: 'chain-5-64kb-50', steps: 5 }],
    },
    {
      title: '64 KB, 16 senders',
      dataBytes: 64 * KB,
      load: { senders: 16 },
      lengths: [{ id: 'chain-5-64kb-16', steps: 5 }],
    },
  ],
  [
    {
      title: '1 MB, 4 senders',
      dataBytes: MB,
      load: { senders: 4, eventsPerSecond: 10 },
      lengths: [{ id: 'chain-5-1mb-4', steps: 5 }],
    },
    {
      title: '16 MB, 2 senders',
      dataBytes: 16 * MB,
      load: { senders: 2, eventsPerSecond: 2 },
      lengths: [{ id: 'chain-5-16mb-2', steps: 5 }],
    },
  ],
];
/** A handful: less has no median. */
const EVENTS_MIN = 5;

interface Round {
  readonly direct: Measurement;
  readonly relay: Measurement;
  readonly on: Told;
  readonly off: Told;
}

export async function runChain(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  for (const series of SERIES) {
    const steps = Math.max(...series.flatMap(({ lengths }) => lengths).map((each) => each.steps));
    const resources = chainYaml(`http://127.0.0.1:${stage.subscriber.port}`, steps);
    const pair = openPair(stage, resources).then(async (opened) => warmUp(stage, opened));
    try {
      for (const each of series) {
        const taken = pair.then(async (open) =>
          takeSeries(stage, { ...each, open, steps }, options),
        );
        for (const length of each.lengths) {
          await attempt(titleOf(each, length), async () => {
            const rounds = await taken;
            return toRow(each, length, rounds.get(length.id) ?? []);
          });
        }
      }
    } finally {
      // A pair that could not be opened has been told of in its rows.
      await pair.then(closePair, () => undefined);
    }
  }
}

async function warmUp(stage: Stage, pair: Pair): Promise<Pair> {
  await measureDirect(stage, warmUpLoad('floor'));
  await measureRelay(stage, 1, warmUpLoad('floor'));
  const load = warmUpLoad('chain');
  await inTurn(pair, 0, async (sut) => measureSut(stage, sut, { path: chainPath(), load }));
  return pair;
}

type OpenSeries = Series & {
  readonly open: Pair;
  /** Channels that there are. */
  readonly steps: number;
};

async function takeSeries(
  stage: Stage,
  series: OpenSeries,
  options: Options,
): Promise<Map<RowId, Round[]>> {
  const { open, lengths, steps } = series;
  const rounds = new Map<RowId, Round[]>(lengths.map(({ id }) => [id, []]));
  const floor = floorLoad(series, options.ms);
  const load = sutLoad(series, options.ms);
  for (let round = 0; round < options.rounds; round += 1) {
    const direct = await measureDirect(stage, floor);
    for (const length of lengths) {
      const path = chainPath(1 + steps - length.steps);
      const relay = await measureRelay(stage, length.steps, floor);
      const turns = await inTurn(open, round, async (sut) =>
        measureSut(stage, sut, { path, load }),
      );
      rounds.get(length.id)?.push({ direct, relay, ...turns });
    }
  }
  return rounds;
}

function floorLoad({ dataBytes, load }: Series, ms: number): Load {
  return 'perSecond' in load
    ? steadyLoad({ dataBytes, perSecond: load.perSecond, ms })
    : { kind: 'closed', dataBytes, senders: load.senders, until: { ms } };
}

function sutLoad(series: Series, ms: number): Load {
  const { load, dataBytes } = series;
  if ('perSecond' in load || load.eventsPerSecond === undefined) return floorLoad(series, ms);
  const events = Math.max(EVENTS_MIN, Math.floor((load.eventsPerSecond * ms) / 1e3));
  return { kind: 'closed', dataBytes, senders: load.senders, until: { events } };
}

function toRow(series: Series, length: Length, rounds: readonly Round[]): Row {
  const isLatency = 'perSecond' in series.load;
  const figure = (one: Measurement): number => (isLatency ? one.p50Ms : one.eventsPerSecond);
  const multiple = ({ direct, on }: Round): number =>
    isLatency ? figure(on) / figure(direct) : figure(direct) / figure(on);
  const [ons, offs] = [rounds.map(({ on }) => on), rounds.map(({ off }) => off)];
  const fate = fates([...ons, ...offs]);
  return {
    id: length.id,
    title: titleOf(series, length),
    unit: isLatency ? 'ms p50' : 'ev/s',
    measured: spread(ons.map(figure)),
    hopsOff: {
      measured: spread(offs.map(figure)),
      ratio: spread(rounds.map(({ on, off }) => figure(on) / figure(off))),
    },
    direct: spread(rounds.map(({ direct }) => figure(direct))),
    relay: spread(rounds.map(({ relay }) => figure(relay))),
    multiple: spread(rounds.map(multiple)),
    multipleOf: 'direct',
    costs: costs(ons),
    ...fate,
    foreignCores: foreignCores(rounds.flatMap((round) => Object.values(round))),
    notes: [
      ...(isLatency ? [`${p99Note(ons)}, off ${p99Note(offs)}`] : []),
      hopsText(ons),
      `${logText(ons)} of log an event, off ${logText(offs)}`,
      ...(series.dataBytes >= MB ? [writtenText(series, ons, offs)] : []),
      ...fate.notes,
    ],
  };
}

function logText(turns: readonly Told[]): string {
  const bytes = median(turns.map(({ tally, deliveries }) => tally.loggedBytes / deliveries));
  return `${number(bytes / KB)} KiB`;
}

/** Large data goes past the log, into the payload store. */
function writtenText(series: Series, ons: readonly Told[], offs: readonly Told[]): string {
  const perByte = (turns: readonly Told[]): string =>
    number(median(turns.map((one) => one.writtenBytes / (one.deliveries * series.dataBytes))));
  return `${perByte(ons)} bytes written a byte, off ${perByte(offs)}`;
}

function titleOf({ title }: Series, { steps }: Length): string {
  return `${steps} step${steps > 1 ? 's' : ''}, ${title}`;
}
