/** The command line of the bench. Pure: parsing only. */
import { parseArgs } from 'node:util';
import { ENGINES, type EngineName } from './engine.ts';

/** Groups of rows, in the order in which they run. */
export const GROUPS = [
  'throughput',
  'latency',
  'chain',
  'hops',
  'fan-out',
  'triggers',
  'hanging',
  'filters',
  'recovery',
  'large',
  'memory',
  'inline',
  'server',
] as const;

export type Group = (typeof GROUPS)[number];

export interface Options {
  readonly groups: readonly Group[];
  /** One measurement of one round; of large data, so many MB delivered. */
  readonly ms: number;
  readonly rounds: number;
  /** Records in the log before the recovery row kills the program. */
  readonly records: number;
  readonly engine: EngineName;
  /** Of the result files. */
  readonly name: string;
}

export const USAGE = `npm run bench -- [options]

  --only ${GROUPS.slice(0, 2).join(',')}   groups to run: ${GROUPS.join(', ')}
  --seconds 2               length of one measurement; large data: 1 GB delivered for each
  --rounds 3                measurements a row; the median is reported, with the extremes
  --records 1000000         records in the log for the recovery row
  --engine embedded         what knear keeps events in: ${ENGINES.join(', ')}
  --name latest             results go to bench/results/<name>.md and .svg
`;

/** @throws with a sentence for the person at the terminal. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', default: GROUPS.join(',') },
      // 2 s: some 20,000 events at 1 KB; all rows together then take less than ten minutes.
      seconds: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '3' },
      records: { type: 'string', default: '1000000' },
      engine: { type: 'string', default: 'embedded' },
      name: { type: 'string', default: 'latest' },
    },
    strict: true,
  });
  if (!/^[\w.-]+$/.test(values.name)) {
    throw new Error(`--name becomes a file name: letters, digits, ".", "_" and "-" only`);
  }
  return {
    groups: parseGroups(values.only),
    ms: positive('--seconds', values.seconds) * 1e3,
    rounds: whole('--rounds', values.rounds),
    records: whole('--records', values.records),
    engine: parseEngine(values.engine),
    name: values.name,
  };
}

function parseEngine(text: string): EngineName {
  const known = ENGINES.find((engine) => engine === text);
  if (known === undefined) throw new Error(`--engine is one of ${ENGINES.join(', ')}`);
  return known;
}

function parseGroups(text: string): Group[] {
  const asked = text.split(',').map((name) => name.trim());
  const unknown = asked.find((name) => !GROUPS.some((group) => group === name));
  if (unknown !== undefined) {
    throw new Error(`no group of rows is called "${unknown}"; there are ${GROUPS.join(', ')}`);
  }
  return GROUPS.filter((group) => asked.includes(group));
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < Infinity)) throw new Error(`${option} is a number above 0`);
  return value;
}

function whole(option: string, text: string): number {
  const value = positive(option, text);
  if (!Number.isSafeInteger(value)) throw new Error(`${option} is a whole number above 0`);
  return value;
}
