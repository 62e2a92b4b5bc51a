/**
 * The simulator by hand: `node test/sim/run.ts --seeds 1-1000` runs them all and prints one line a failure;
 * `node test/sim/run.ts --seeds 17` repeats one and tells more. `--until-failure` stops at the first,
 * `--server` gives the log the habits of one on a server, `--worlds hops` or `plain` takes only those with local hops, or
 * only those without.
 */
import { parseArgs } from 'node:util';

import { hopPlanOf, plainPlanOf, planOf, serverPlanOf } from './plans.ts';
import { runWorld } from './world.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1-200' },
    'until-failure': { type: 'boolean', default: false },
    server: { type: 'boolean', default: false },
    worlds: { type: 'string', default: 'all' },
  },
});
const [first = 1, last = first] = values.seeds.split('-').map(Number);
const isSingle = first === last;
const totals = {
  seeds: 0,
  accepted: 0,
  kills: 0,
  stops: 0,
  hops: 0,
  duplicates: 0,
  replayed: 0,
  leftOut: 0,
  failedCommits: 0,
  payloads: 0,
  spoilt: 0,
  failedRemovals: 0,
  stalls: 0,
};
let failures = 0;

for (let seed = first; seed <= last; seed += 1) {
  try {
    const result = await runWorld(chosenPlanOf(seed));
    totals.seeds += 1;
    totals.accepted += result.accepted;
    totals.kills += result.kills;
    totals.stops += result.stops;
    totals.hops += result.hops;
    totals.duplicates += result.duplicates;
    totals.replayed += result.replayed;
    totals.leftOut += result.leftOut;
    totals.failedCommits += result.failedCommits;
    totals.payloads += result.payloads;
    totals.spoilt += result.spoilt;
    totals.failedRemovals += result.failedRemovals;
    totals.stalls += result.stalls;
    if (isSingle) console.log(result);
  } catch (error) {
    failures += 1;
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    console.log(`seed ${seed}: ${isSingle ? stack : message}`);
    if (values['until-failure']) break;
  }
}
console.log(JSON.stringify({ ...totals, failures }));
process.exitCode = failures > 0 ? 1 : 0;

function chosenPlanOf(seed: number) {
  if (values.server) return serverPlanOf(seed);
  if (values.worlds === 'all') return planOf(seed);
  return values.worlds === 'hops' ? hopPlanOf(seed) : plainPlanOf(seed);
}
