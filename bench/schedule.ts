/** When the events of an open loop are due. Pure. */

/** For so long, so many events a second. */
export interface Pace {
  readonly perSecond: number;
  readonly ms: number;
}

/** Microseconds from the start, one pace after the other; at least one event. */
export function dueTimesUs(paces: readonly Pace[]): Float64Array {
  const due: number[] = [];
  let startUs = 0;
  for (const { perSecond, ms } of paces) {
    const count = Math.floor((ms / 1e3) * perSecond);
    for (let index = 0; index < count; index += 1) due.push(startUs + (index * 1e6) / perSecond);
    startUs += ms * 1e3;
  }
  return Float64Array.from(due.length > 0 ? due : [0]);
}
