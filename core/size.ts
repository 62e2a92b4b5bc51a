/** Sizes as people write them: bytes, or a number with Ki, Mi or Gi, as Kubernetes has them. */

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
};

/** `undefined`: it is none. No fractions, and no decimal units: `1MB` is another number for everybody. */
export function parseSizeBytes(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,15})(Ki|Mi|Gi)?$/.exec(text) ?? [];
  const factor = UNITS[unit];
  return digits === undefined || factor === undefined ? undefined : Number(digits) * factor;
}

/** In the largest unit that tells it exactly. */
export function sizeText(bytes: number): string {
  const fitting = Object.entries(UNITS).filter(([, factor]) => bytes % factor === 0);
  const [unit, factor] = (bytes > 0 ? fitting.at(-1) : undefined) ?? ['', 1];
  return `${bytes / factor}${unit}`;
}

/** What a size from `min` to `max` looks like. */
export function sizeWords(min: string, max: string): string {
  return `bytes, or a number with Ki, Mi or Gi, from ${min} to ${max}`;
}
