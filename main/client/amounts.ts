/** Sizes and times as people read them: as exact as it matters. */

/** `0 B`, `9999 B`, `12 kB`, `50 MB`, `1.5 GB`. */
export function sizeText(bytes: number): string {
  if (bytes < 10_000) return `${bytes} B`;
  if (bytes < 10_000_000) return `${Math.round(bytes / 1_000)} kB`;
  return bytes < 1_000_000_000
    ? `${Math.round(bytes / 1_000_000)} MB`
    : `${(bytes / 1_000_000_000).toFixed(1)} GB`;
}

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** `0.4 ms`, `230 ms`, `12.5 s`, `75 min`, `30 h`. A clock that was set back shows as 0. */
export function spanText(ms: number): string {
  const positive = Math.max(0, ms);
  if (positive > 0 && positive < 10) return `${(Math.round(positive * 10) / 10).toString()} ms`;
  if (positive < 10 * SECOND_MS) return `${Math.round(positive)} ms`;
  if (positive < 10 * MINUTE_MS) return `${(positive / SECOND_MS).toFixed(1)} s`;
  return positive < 10 * HOUR_MS
    ? `${Math.round(positive / MINUTE_MS)} min`
    : `${Math.round(positive / HOUR_MS)} h`;
}
