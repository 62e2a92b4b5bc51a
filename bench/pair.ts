/**
 * Two programs with the same resources, alive at the same time: in one, events go on from step to step without the log
 * where they may, in the other every step passes it. They take turns, and the one that comes first in one round comes
 * second in the next, so that noise and what the turn before leaves behind touch both.
 */
import { WARM_UP_MS, WARM_UP_SENDERS } from './contest.ts';
import { MATCHING_TYPE } from './manifests.ts';
import { measure, type Course, type Load, type Measurement, type Stage } from './stage.ts';
import type { Sut } from './sut.ts';
import { difference, tallyOf, type Tally } from './tally.ts';

export const HOPS_ON = ['--local-hop', 'chain'];
const HOPS_OFF = ['--local-hop', 'off'];

export interface Pair {
  readonly on: Sut;
  readonly off: Sut;
}

/** What arrived, and what the program has counted meanwhile. */
export type Told = Measurement & { readonly tally: Tally };

export async function openPair(stage: Stage, resources: string): Promise<Pair> {
  const on = await stage.engine.start(resources, HOPS_ON);
  try {
    return { on, off: await stage.engine.start(resources, HOPS_OFF) };
  } catch (error) {
    await on.discard();
    throw error;
  }
}

export async function closePair({ on, off }: Pair): Promise<void> {
  await off.discard();
  await on.discard();
}

/** Both, one right after the other. @param round decides who is first. */
export async function inTurn<Result>(
  { on, off }: Pair,
  round: number,
  turn: (sut: Sut) => Promise<Result>,
): Promise<{ readonly on: Result; readonly off: Result }> {
  if (round % 2 === 0) return { on: await turn(on), off: await turn(off) };
  const first = await turn(off);
  return { on: await turn(on), off: first };
}

/** Events of 1 KB, saturated. Floors need little; a program needs `WARM_UP_MS`. */
export function warmUpLoad(who: keyof typeof WARM_UP_MS): Load {
  const until = { ms: WARM_UP_MS[who] };
  return { kind: 'closed', dataBytes: 1_024, senders: WARM_UP_SENDERS, until };
}

/** A path with one end. */
export async function measureSut(
  stage: Stage,
  sut: Sut,
  course: Pick<Course, 'load' | 'alsoPids'> & { readonly path: string },
): Promise<Told> {
  const before = await tallyOf(sut);
  const measurement = await measure(stage, {
    ...course,
    aim: { port: sut.port, path: course.path },
    lanes: 1,
    type: MATCHING_TYPE,
    watchPid: sut.pid,
  });
  return { ...measurement, tally: difference(await tallyOf(sut), before) };
}

export async function measureDirect(stage: Stage, load: Load): Promise<Measurement> {
  const aim = { port: stage.subscriber.port, path: '/sink/0' };
  return measure(stage, { aim, load, lanes: 1, type: MATCHING_TYPE });
}

/** @param steps requests that the relay makes for each event before the last one, which goes to the end. */
export async function measureRelay(stage: Stage, steps: number, load: Load): Promise<Measurement> {
  const subscriberPort = stage.subscriber.port;
  await stage.relay.call('shape', { subscriberPort, steps, copies: 1 });
  const aim = { port: stage.relay.port, path: '/' };
  return measure(stage, { aim, load, lanes: 1, type: MATCHING_TYPE });
}
