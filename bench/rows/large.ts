/**
 * Large payloads, which go past the log: what is delivered of them, against the direct POST of the same size; what they
 * make the disk write; and that nothing of them is left when all is settled.
 *
 * A row is bounded by bytes, not by time. There is no relay: the one of other rows holds each event whole.
 */
import { costs, fates, foreignCores } from '../contest.ts';
import { BROKER_PATH, MATCHING_TYPE, brokerYaml } from '../manifests.ts';
import type { Options } from '../options.ts';
import type { Attempt, Row } from '../row.ts';
import { measure, type Load, type Measurement, type Stage } from '../stage.ts';
import { spread } from '../statistics.ts';
import type { PayloadsLeft } from '../sut.ts';

const MB = 1_000_000;
const SIZES = [
  { name: '1mb', title: '1 MB', dataBytes: MB, senders: 4 },
  { name: '16mb', title: '16 MB', dataBytes: 16 * MB, senders: 2 },
  { name: '64mb', title: '64 MB', dataBytes: 64 * MB, senders: 1 },
  { name: '256mb', title: '256 MB', dataBytes: 256 * MB, senders: 1 },
] as const;
const TRIGGERS = [1, 4, 16] as const;
/** With one, the figure is the time of a single event, and a second one costs little. */
const EVENTS_MIN = 2;
/** Sent, of what is delivered: at one Trigger half a gigabyte a second is as long as a measurement should be. */
const SENT_SHARE = 0.5;
/** Node's compilers look at pieces of 64 KB, not at events: 3,000 of them and more, whatever the size of the events. */
const WARM_UP = { dataBytes: 2 * MB, senders: 4, deliveredBytes: 200 * MB };

interface Passage {
  readonly size: (typeof SIZES)[number];
  readonly triggers: (typeof TRIGGERS)[number];
}

interface Round {
  readonly direct: Measurement;
  readonly sut: Measurement;
}

interface Passed {
  readonly passage: Passage;
  readonly rounds: readonly Round[];
  readonly left: PayloadsLeft;
}

export async function runLarge(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  const all: Passed[] = [];
  for (const size of SIZES) {
    for (const triggers of TRIGGERS) {
      const passage = { size, triggers };
      await attempt(titleOf(passage), async () => {
        const passed = await pass(stage, passage, options);
        all.push(passed);
        return toRow(passed);
      });
    }
  }
  const written = all.find(({ passage }) => passage.size.name === '64mb' && passage.triggers === 4);
  if (written) await attempt('written', () => writtenRow(written));
  if (all.length > 0) await attempt('left', () => leftRow(all));
}

async function pass(stage: Stage, passage: Passage, { ms, rounds }: Options): Promise<Passed> {
  const { triggers } = passage;
  const url = `http://127.0.0.1:${stage.subscriber.port}`;
  const plan = { count: triggers, matching: triggers };
  const sut = await stage.engine.start(brokerYaml(url, plan));
  const round = async (amount: Amount): Promise<Round> => {
    const type = MATCHING_TYPE;
    const aims = {
      direct: { port: stage.subscriber.port, path: '/sink/0' },
      sut: { port: sut.port, path: BROKER_PATH },
    };
    return {
      direct: await measure(stage, { aim: aims.direct, load: loadOf(amount, 1), lanes: 1, type }),
      sut: await measure(stage, {
        aim: aims.sut,
        load: loadOf(amount, triggers),
        lanes: triggers,
        type,
        watchPid: sut.pid,
      }),
    };
  };
  try {
    await round(WARM_UP);
    const amount = { ...passage.size, deliveredBytes: ms * MB };
    const taken: Round[] = [];
    for (let index = 0; index < rounds; index += 1) taken.push(await round(amount));
    return { passage, rounds: taken, left: await sut.payloadsLeft() };
  } finally {
    await sut.discard();
  }
}

interface Amount {
  readonly dataBytes: number;
  readonly senders: number;
  readonly deliveredBytes: number;
}

function loadOf({ dataBytes, senders, deliveredBytes }: Amount, triggers: number): Load {
  const sentBytes = Math.min(deliveredBytes * SENT_SHARE, deliveredBytes / triggers);
  const events = Math.max(EVENTS_MIN, senders, Math.floor(sentBytes / dataBytes));
  return { kind: 'closed', dataBytes, senders, until: { events } };
}

function toRow({ passage, rounds, left }: Passed): Row {
  const { size, triggers } = passage;
  const rate = (one: Measurement): number => (one.deliveriesPerSecond * size.dataBytes) / MB;
  const suts = rounds.map(({ sut }) => sut);
  const fate = fates(suts);
  return {
    id: `large-${size.name}-${triggers}`,
    title: titleOf(passage),
    unit: 'MB/s',
    measured: spread(suts.map(rate)),
    direct: spread(rounds.map(({ direct }) => rate(direct))),
    multiple: spread(rounds.map(({ direct, sut }) => rate(direct) / rate(sut))),
    multipleOf: triggers > 1 ? 'direct, per delivery' : 'direct',
    costs: costs(suts),
    ...fate,
    foreignCores: foreignCores(rounds.flatMap((round) => Object.values(round))),
    notes: [
      `${suts[0]?.sent ?? 0} events a round`,
      `${writtenPerByte(passage, rounds).median.toFixed(2)} bytes written a byte`,
      ...(left.bytes > 0 || left.files > 0 ? [leftNote(left)] : []),
      ...fate.notes,
    ],
  };
}

/** To the disk, for each byte of data that was sent; not more for more Triggers. */
function writtenRow({ passage, rounds }: Passed): Row {
  return {
    id: 'large-written',
    title: `written to the disk, ${titleOf(passage)}`,
    unit: 'bytes a byte of data',
    measured: writtenPerByte(passage, rounds),
    lost: 0, // the row it is taken from counts its own
    foreignCores: 0, // others do not change what is written
    notes: [],
  };
}

function writtenPerByte({ size }: Passage, rounds: readonly Round[]) {
  return spread(rounds.map(({ sut }) => sut.writtenBytes / (sut.sent * size.dataBytes)));
}

function leftRow(all: readonly Passed[]): Row {
  const files = all.reduce((sum, { left }) => sum + left.files, 0);
  return {
    id: 'large-left',
    title: 'left in the store after these rows',
    unit: 'bytes',
    measured: spread(all.map(({ left }) => left.bytes)),
    lost: 0, // the rows before count theirs
    foreignCores: 0, // others do not change what is left
    notes: [`${files} files`],
  };
}

function leftNote({ bytes, files }: PayloadsLeft): string {
  return `LEFT IN THE STORE: ${bytes} bytes, ${files} files`;
}

function titleOf({ size, triggers }: Passage): string {
  const senders = size.senders > 1 ? `${size.senders} senders` : '1 sender';
  return `${size.title}, ${senders}, ${triggers} Trigger${triggers > 1 ? 's' : ''}`;
}
