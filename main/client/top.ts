/** `knear top`: what all processes of a group do at the moment, from two readings of each. */
import { messageOf } from '../../core/errors.ts';
import type { EgressFigures, Figures, Process } from '../inside/figures.ts';
import { askAdmin } from './ask-admin.ts';
import { columns } from './get.ts';
import { plain } from './plain.ts';

/** Of all processes at one moment. */
export interface Reading {
  /** Monotonic. */
  readonly atMs: number;
  readonly figures: readonly Figures[];
  /** Those that did not answer, and why. */
  readonly silent: readonly { readonly process: Process; readonly why: string }[];
}

/** Lines that fit on a screen; the busiest ones come first. */
const EGRESSES_MAX = 30;

/** Reads the process at this address and all that it knows. @throws KNEAR_ADMIN_UNREACHABLE when that one does not answer */
export async function readAll(adminUrl: string, atMs: number): Promise<Reading> {
  const first = await read(adminUrl);
  const figures = [first];
  const silent: { process: Process; why: string }[] = [];
  await Promise.all(
    first.others
      .filter(({ id }) => id !== first.self.id)
      .map(async (process) => {
        try {
          figures.push(await read(process.adminUrl));
        } catch (error) {
          silent.push({ process, why: messageOf(error) });
        }
      }),
  );
  figures.sort((one, other) => sortKey(one.self).localeCompare(sortKey(other.self)));
  return { atMs, figures, silent };
}

async function read(adminUrl: string): Promise<Figures> {
  // What main/inside/figures.ts of the other one sends; another version may know more.
  return (await askAdmin(adminUrl, '/figures')) as Figures;
}

function sortKey({ role, places, id }: Process): string {
  return `${role} ${places.join()} ${id}`;
}

/** The text to print. @param before absent: there are no rates yet */
export function topText(before: Reading | undefined, now: Reading): string {
  const rates = ratesOf(before, now);
  return [
    columns([
      ['PROCESS', 'ID', 'PLACE', 'REV', 'IN FLIGHT', 'DELIVERED/S', 'NEAR', 'HOPS/S', 'FAILED/S'],
      ...now.figures.map((each) => processRow(each, rates)),
      ...now.silent.map(({ process, why }) => silentRow(process, why)),
    ]),
    columns([
      [
        'EGRESS',
        'READY',
        'DELAYED',
        'PARKED',
        'IN FLIGHT',
        'DELIVERED/S',
        'NEAR',
        'FAILED/S',
        'BY',
      ],
      ...egressRows(now, rates),
    ]),
  ].join('\n');
}

/** What has been counted between two readings, a second. */
interface Rates {
  of(process: Process, egress: EgressFigures, count: (figures: EgressFigures) => number): number;
}

function ratesOf(before: Reading | undefined, now: Reading): Rates {
  const seconds = before ? (now.atMs - before.atMs) / 1_000 : 0;
  const known = new Map(
    before?.figures.flatMap(({ self, egresses }) =>
      egresses.map((each) => [`${self.id} ${each.name}`, each] as const),
    ),
  );
  return {
    of({ id }, egress, count) {
      const earlier = known.get(`${id} ${egress.name}`);
      return earlier && seconds > 0 ? (count(egress) - count(earlier)) / seconds : 0;
    },
  };
}

const delivered = ({ ends }: EgressFigures) => ends['delivered'] ?? 0;
const failed = ({ failures }: EgressFigures) => failures;
const hops = (figures: EgressFigures) => figures.hops;
const routed = ({ routes }: EgressFigures) => sum(Object.values(routes));
const near = ({ routes }: EgressFigures) => (routes['pod'] ?? 0) + (routes['node'] ?? 0);

function processRow({ self, egresses }: Figures, rates: Rates): string[] {
  const total = (count: (figures: EgressFigures) => number) =>
    sum(egresses.map((each) => rates.of(self, each, count)));
  return [
    ...processCells(self),
    String(sum(egresses.map(({ inUse }) => inUse))),
    rate(total(delivered)),
    share(total(near), total(routed)),
    rate(total(hops)),
    rate(total(failed)),
  ];
}

function silentRow(process: Process, why: string): string[] {
  return [...processCells(process), `no answer: ${plain(why)}`];
}

function processCells({ role, id, places, revision }: Process): string[] {
  return [role, id.slice(0, 8), plain(places.join(', ')) || '-', String(revision)];
}

function egressRows({ figures }: Reading, rates: Rates): string[][] {
  const byName = new Map<string, { self: Process; figures: EgressFigures }[]>();
  for (const { self, egresses } of figures) {
    for (const each of egresses) {
      byName.set(each.name, [...(byName.get(each.name) ?? []), { self, figures: each }]);
    }
  }
  const rows = [...byName].map(([name, parts]) => {
    const total = (count: (each: EgressFigures) => number) =>
      sum(parts.map((part) => rates.of(part.self, part.figures, count)));
    // Each knows of the same queue; who knows least has not looked for long.
    const most = (kind: 'ready' | 'delayed' | 'parked') =>
      Math.max(...parts.map((part) => part.figures.lag[kind]));
    const busy = parts.filter((part) => part.figures.inUse > 0);
    const inFlight = sum(parts.map((part) => part.figures.inUse));
    return {
      weight: total(delivered) + inFlight + most('ready'),
      cells: [
        plain(name),
        ...[most('ready'), most('delayed'), most('parked')].map(String),
        `${String(inFlight)}/${String(sum(parts.map((part) => part.figures.slots)))}`,
        rate(total(delivered)),
        share(total(near), total(routed)),
        rate(total(failed)),
        busy
          .map(({ self, figures: { inUse } }) => `${self.id.slice(0, 8)}:${String(inUse)}`)
          .join(' '),
      ],
    };
  });
  const sorted = rows.toSorted((one, other) => other.weight - one.weight);
  const left = sorted.length - EGRESSES_MAX;
  const more = left > 0 ? [[`and ${String(left)} more`]] : [];
  return [...sorted.slice(0, EGRESSES_MAX).map(({ cells }) => cells), ...more];
}

function rate(value: number): string {
  return value < 10 ? value.toFixed(1) : Math.round(value).toString();
}

/** Of what went to an endpoint or an address, how much went to the same pod or node. */
function share(part: number, whole: number): string {
  return whole > 0 ? `${String(Math.round((100 * part) / whole))} %` : '-';
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
