/**
 * What each row is held to. A gate must hold, a goal is where we want to be; both are multiples, or where a target is
 * absolute, the figure itself. Smaller is better.
 * `peers` are the best figures of existing Knative brokers and channels for the same path, volatile and durable,
 * measured with their real programs on a machine of the same size.
 *
 * **Scale.** Gates, goals and the peers' figures are multiples of a direct POST from an ordinary HTTP client to an
 * ordinary HTTP server (Go's net/http at both ends). Our load generator and subscriber are cheaper than that, so our
 * direct POST is faster, and a multiple of it would compare unlike things. `FLOOR_SCALE` says how much faster, and a
 * row is judged by its multiple divided by that. docs/benchmarks.md says how the factors were measured; both figures
 * are printed.
 */

import type { EngineName } from './engine.ts';

export interface Target {
  readonly gate?: number;
  readonly goal?: number;
  readonly peers?: string;
  /** Which factor leads from our direct POST to the one that gate, goal and peers refer to. Absent: no direct POST. */
  readonly scale?: keyof typeof FLOOR_SCALE;
  /** Gate and goal are in the unit of the row, not multiples. */
  readonly isAbsolute?: true;
}

export type Verdict = 'goal' | 'gate' | 'miss' | 'none';

/** Our direct POST / the ordinary one, taken in turns on an idle machine with two cores. */
export const FLOOR_SCALE = {
  'throughput 1 KB': 2,
  'throughput 64 KB': 1.6,
  'throughput 1 MB': 1.2,
  latency: 1,
} as const;

export const TARGETS = {
  'throughput-1kb': { gate: 5, goal: 3.3, peers: '8.5; 20', scale: 'throughput 1 KB' },
  'throughput-64kb': { gate: 9, goal: 5.5, peers: '6.3; 36', scale: 'throughput 64 KB' },
  'throughput-1mb': { gate: 14, goal: 7, peers: '7; 52', scale: 'throughput 1 MB' },
  'throughput-1mb-4': { gate: 6, goal: 4, scale: 'throughput 1 MB' },
  'latency-1kb-100': { gate: 5, goal: 3.8, peers: '3.9; 6', scale: 'latency' },
  'latency-1kb-2000': { scale: 'latency' },
  'chain-1-1kb-50': { scale: 'latency' },
  'chain-3-1kb-50': { peers: '9; 19', scale: 'latency' },
  'chain-5-1kb-50': { gate: 8, goal: 6.5, peers: '11; 24', scale: 'latency' },
  'chain-5-64kb-50': { gate: 13, goal: 10, peers: '23; 55', scale: 'latency' },
  'chain-1-1kb-16': { scale: 'throughput 1 KB' },
  'chain-3-1kb-16': { peers: '39; 76', scale: 'throughput 1 KB' },
  'chain-5-1kb-16': { gate: 13, goal: 11, peers: '60; 245', scale: 'throughput 1 KB' },
  'chain-5-64kb-16': { gate: 34, goal: 28, scale: 'throughput 64 KB' },
  'chain-10-1kb-50': { scale: 'latency' },
  'chain-5-1mb-4': { scale: 'throughput 1 MB' },
  'chain-5-16mb-2': { scale: 'throughput 1 MB' },
  'hop-slope': { gate: 1.5, goal: 1.3 },
  'hot-and-cold': {},
  'load-step': { gate: 10, goal: 10, isAbsolute: true },
  'fan-out-1': { scale: 'throughput 1 KB' },
  'fan-out-16': { scale: 'throughput 1 KB' },
  'fan-out-100': { gate: 1.4, goal: 1.15, scale: 'throughput 1 KB' },
  'triggers-100': {},
  'triggers-1000': { gate: 1.3, goal: 1.1 },
  'triggers-10000': { gate: 2, goal: 1.3 },
  hanging: { gate: 1.5, goal: 1.1 },
  'filter-exact': {},
  'filter-prefix': {},
  'filter-nested': {},
  'filter-cesql-equal': {},
  'filter-cesql-like': {},
  'filter-cesql-pattern': {},
  'filter-cesql-function': {},
  'filter-cesql-condition': {},
  'filter-cesql-reply': {},
  recovery: {},
  'large-1mb-1': {},
  'large-1mb-4': {},
  'large-1mb-16': {},
  'large-16mb-1': {},
  'large-16mb-4': {},
  'large-16mb-16': {},
  'large-64mb-1': {},
  'large-64mb-4': {},
  'large-64mb-16': {},
  'large-256mb-1': {},
  'large-256mb-4': {},
  'large-256mb-16': {},
  'large-written': {},
  'large-left': { gate: 0, goal: 0, isAbsolute: true },
  'memory-8-64mb': { gate: 64, goal: 32, isAbsolute: true },
  'memory-1-1gib': { gate: 64, goal: 32, isAbsolute: true },
  'inline-16kib': {},
  'inline-64kib': {},
  'inline-256kib': {},
  'inline-1mb': {},
  'inline-crossing': {},
  'nats-publish': {},
  'nats-consume': {},
} as const satisfies Record<string, Target>;

export type RowId = keyof typeof TARGETS;

/** On JetStream other things are possible; what is not here is only printed. */
const JETSTREAM: Partial<Record<RowId, Omit<Target, 'scale'>>> = {
  'throughput-1kb': { gate: 12, goal: 9, peers: '-; 20' },
  // From one step to the next there is no log, whichever it is.
  'hop-slope': TARGETS['hop-slope'],
  'load-step': TARGETS['load-step'],
};

/** @param engine of the row; absent: the embedded log. */
export function targetOf(id: RowId, engine?: EngineName): Target {
  const target: Target = TARGETS[id];
  if (engine === undefined || engine === 'embedded') return target;
  const { scale } = target;
  return { ...(scale && { scale }), ...JETSTREAM[id] };
}

/** The multiple on the scale of gate, goal and peers. */
export function scaled(multiple: number, target: Target): number {
  return target.scale === undefined ? multiple : multiple / FLOOR_SCALE[target.scale];
}

/** @param figure a multiple, or of an absolute target the figure of the row. */
export function judge(figure: number, target: Target): Verdict {
  const value = scaled(figure, target);
  if (target.gate === undefined) return 'none';
  if (target.goal !== undefined && value <= target.goal) return 'goal';
  return value <= target.gate ? 'gate' : 'miss';
}
