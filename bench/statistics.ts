/** The few figures a row is made of. Pure. */

/** Several rounds of one measurement. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @throws on no values: a row without a measurement must not look like one. */
export function spread(values: readonly number[]): Spread {
  const order = sorted(values);
  const first = order[0];
  const last = order.at(-1);
  if (first === undefined || last === undefined) throw new Error('a spread of no values');
  return { median: middleOf(order), min: first, max: last };
}

/** @throws on no values. */
export function median(values: readonly number[]): number {
  return spread(values).median;
}

/** A sorted copy, smallest first. */
export function sorted(values: Float64Array | readonly number[]): Float64Array {
  return Float64Array.from(values).sort();
}

/**
 * The smallest value that at least `fraction` of all values do not exceed (nearest rank), so a p99 is a time that was
 * really measured. @throws on no values.
 */
export function percentile(sortedValues: Float64Array, fraction: number): number {
  const rank = Math.max(1, Math.ceil(fraction * sortedValues.length));
  const value = sortedValues[rank - 1];
  if (value === undefined) throw new Error('a percentile of no values');
  return value;
}

/**
 * Where a ratio that changes with size becomes 1, between the measured sizes, on logarithmic scales. From the first pair of
 * neighbours that lie on both sides of 1. Points are by ascending size.
 */
export function crossingOf(
  points: readonly { readonly size: number; readonly ratio: number }[],
): number | undefined {
  for (const [index, { size, ratio }] of points.entries()) {
    const next = points[index + 1];
    if (next === undefined || ratio > 1 === next.ratio > 1) continue;
    const share = Math.log(ratio) / (Math.log(ratio) - Math.log(next.ratio));
    return size * (next.size / size) ** share;
  }
  return undefined;
}

function middleOf(order: Float64Array): number {
  const middle = order.length / 2;
  return (percentile(order, 0.5) + percentile(order, (Math.floor(middle) + 1) / order.length)) / 2;
}
