/** The command line of the simulator. Pure: parsing only. */
import { parseArgs } from 'node:util';
import { idAt, SCENARIOS, type Scenario } from './scenarios.ts';

export interface Options {
  readonly seeds: number;
  readonly scenarios: readonly Scenario[];
  /** Where the table and the pictures go. */
  readonly out: string;
}

/** What the targets at a load of 0.9 and at an even load are about. */
const QUICK = [idAt(0.9), idAt(0.9, true), 'even'];

export const USAGE = `npm run sim-rebalance -- [options]

  --seeds 3            runs of each; of each figure the median is reported
  --scenarios a,b      ${SCENARIOS.map(({ id }) => id).join(', ')}
  --quick              one seed of ${QUICK.join(', ')}: a few seconds
  --out bench/results  folder for sim-rebalance.md and the pictures
`;

/** @throws with a sentence for the person at the terminal. */
export function parseOptions(args: readonly string[], out: string): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string' },
      scenarios: { type: 'string' },
      quick: { type: 'boolean', default: false },
      out: { type: 'string', default: out },
    },
    strict: true,
  });
  const asked =
    values.scenarios?.split(',').map((id) => id.trim()) ?? (values.quick ? QUICK : undefined);
  const unknown = asked?.find((id) => !SCENARIOS.some((scenario) => scenario.id === id));
  if (unknown !== undefined) {
    const known = SCENARIOS.map(({ id }) => id).join(', ');
    throw new Error(`no scenario is called "${unknown}"; there are ${known}`);
  }
  return {
    seeds: whole(values.seeds ?? (values.quick ? '1' : '3')),
    scenarios: SCENARIOS.filter(({ id }) => asked?.includes(id) ?? true),
    out: values.out,
  };
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new Error('--seeds is a whole number above 0');
  }
  return value;
}
