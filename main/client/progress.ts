/** How far a long upload is, on one line of a terminal that is written over and gone at the end. */
import type { Clock } from '../../core/ports/time.ts';

export interface Progress {
  /** Starts over. @param sizeBytes absent: nobody knows how much there is. */
  begin(sizeBytes: number | undefined): void;
  add(bytes: number): void;
  /** Wipes the line, if there is one. */
  end(): void;
}

/** What is smaller is sent before anybody has read the line. */
const SHOWN_FROM_BYTES = 1_000_000;
/** As often as an eye follows. */
const EVERY_MS = 100;
const BAR_WIDTH = 30;
/** To the start of the line, and wipe it. */
const WIPE = '\r\u001b[K';

export function openProgress(write: (text: string) => void, clock: Clock): Progress {
  let sizeBytes: number | undefined;
  let sentBytes = 0;
  let shownAtMs = -Infinity;
  return {
    begin(size) {
      sizeBytes = size;
      sentBytes = 0;
    },
    add(bytes) {
      sentBytes += bytes;
      if (Math.max(sizeBytes ?? 0, sentBytes) < SHOWN_FROM_BYTES) return;
      const nowMs = clock.monotonicMs();
      if (nowMs - shownAtMs < EVERY_MS) return;
      shownAtMs = nowMs;
      write(`${WIPE}${lineOf(sentBytes, sizeBytes)}`);
    },
    end() {
      if (shownAtMs !== -Infinity) write(WIPE);
      shownAtMs = -Infinity;
    },
  };
}

function lineOf(sentBytes: number, sizeBytes: number | undefined): string {
  if (sizeBytes === undefined) return `${megabytes(sentBytes)} sent`;
  const share = sizeBytes === 0 ? 1 : Math.min(1, sentBytes / sizeBytes);
  const bar = '#'.repeat(Math.round(share * BAR_WIDTH)).padEnd(BAR_WIDTH, '.');
  const percent = `${Math.floor(share * 100)} %`.padStart(5);
  return `[${bar}] ${percent}  ${megabytes(sentBytes)} of ${megabytes(sizeBytes)}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
