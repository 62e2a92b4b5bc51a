/**
 * Rows about local hops themselves: what one more costs, whether a chain hurts others, and whether hops come back after too
 * much load.
 */
import { fates, foreignCores, steadyLoad } from '../contest.ts';
import { chainPath, chainYaml } from '../manifests.ts';
import type { Options } from '../options.ts';
import { HOPS_ON, measureRelay, measureSut, warmUpLoad, type Told } from '../pair.ts';
import type { Attempt, Row } from '../row.ts';
import type { Measurement, Stage } from '../stage.ts';
import { spread, type Spread } from '../statistics.ts';
import type { Sut } from '../sut.ts';
import { hopsText } from '../tally.ts';
import { runHotAndCold } from './hot-and-cold.ts';
import { runLoadStep } from './load-step.ts';

const STEPS = 10;
/** Low, so that nothing waits for anything but what it needs itself. */
const PER_SECOND = 50;
const KB = 1_024;

export async function runHops(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  await attempt('one more hop', async () => slopeRow(await takeSlopes(stage, options)));
  await runHotAndCold(stage, options, attempt);
  await runLoadStep(stage, attempt);
}

interface Lengths<Kind> {
  readonly one: Kind;
  readonly ten: Kind;
}

interface Round {
  readonly relay: Lengths<Measurement>;
  readonly sut: Lengths<Told>;
}

async function takeSlopes(stage: Stage, { rounds, ms }: Options): Promise<Round[]> {
  const resources = chainYaml(`http://127.0.0.1:${stage.subscriber.port}`, STEPS);
  const sut = await stage.engine.start(resources, HOPS_ON);
  try {
    await measureRelay(stage, 1, warmUpLoad('floor'));
    await measureSut(stage, sut, { path: chainPath(), load: warmUpLoad('chain') });
    const taken: Round[] = [];
    for (let round = 0; round < rounds; round += 1) taken.push(await takeRound(stage, sut, ms));
    return taken;
  } finally {
    await sut.discard();
  }
}

async function takeRound(stage: Stage, sut: Sut, ms: number): Promise<Round> {
  const load = steadyLoad({ dataBytes: KB, perSecond: PER_SECOND, ms });
  const [first, last] = [chainPath(1), chainPath(STEPS)];
  return {
    relay: { one: await measureRelay(stage, 1, load), ten: await measureRelay(stage, STEPS, load) },
    sut: {
      one: await measureSut(stage, sut, { path: last, load }),
      ten: await measureSut(stage, sut, { path: first, load }),
    },
  };
}

/**
 * What one more step costs, against what it costs the bare relay: one more request from the same process to the same
 * subscriber. The relay's slope is taken over all rounds, because it is a small difference and a division by the noise of
 * one round would say nothing.
 */
function slopeRow(rounds: readonly Round[]): Row {
  const slope = ({ one, ten }: Lengths<Measurement>): number =>
    (ten.p50Ms - one.p50Ms) / (STEPS - 1);
  const relay = spread(rounds.map((round) => slope(round.relay)));
  const sut = spread(rounds.map((round) => slope(round.sut)));
  if (!(relay.median > 0)) {
    throw new Error(`too noisy: the relay took no longer for ${STEPS} steps than for one`);
  }
  const suts = rounds.flatMap((round) => Object.values(round.sut));
  const fate = fates(suts);
  return {
    id: 'hop-slope',
    title: `one more hop, 1 KB at ${PER_SECOND}/s`,
    unit: 'ms p50',
    measured: sut,
    relay,
    multiple: divided(sut, relay.median),
    multipleOf: 'one more request of the relay',
    ...fate,
    foreignCores: foreignCores([...suts, ...rounds.flatMap((round) => Object.values(round.relay))]),
    notes: [`${STEPS} steps: ${hopsText(rounds.map(({ sut: { ten } }) => ten))}`, ...fate.notes],
  };
}

function divided({ median: middle, min, max }: Spread, by: number): Spread {
  return { median: middle / by, min: min / by, max: max / by };
}
