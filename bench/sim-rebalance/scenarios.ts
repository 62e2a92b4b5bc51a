/** What the policies are tried on. Everything that a scenario does not say is as in `USUAL`. */
import type { Setup } from './contract.ts';

const MB = 1e6;
/** ms a byte at so many Gbit/s. */
const link = (gigabits: number) => 8e-6 / gigabits;
const always = (load: number) => () => load;
const PLACED = ', arrivals placed, too';

const USUAL: Setup = {
  pods: 10,
  slots: 4,
  steps: 5,
  fanOut: 1,
  serviceMs: 5,
  sigma: 0.8,
  sizes: [
    { bytes: 8e3, share: 0.8 },
    { bytes: MB, share: 0.15 },
    { bytes: 16 * MB, share: 0.05 },
  ],
  load: always(0.9),
  skew: 1.2,
  hotMs: Infinity,
  firstSpeed: 1,
  roundTripMs: 0.3,
  linkByteMs: link(10),
  receiveMs: 0.2,
  // 1 GB/s
  copyByteMs: 1e-6,
  reportMs: 20,
  // What a step through a log on a server took more than a hop, per step of five (docs/local-hop.md).
  logMs: 1,
  placesArrivals: false,
  lastMs: 6_000,
  warmMs: 1_000,
};

export interface Scenario {
  readonly id: string;
  readonly title: string;
  readonly setup: Setup;
  /** Of a step in load: when it goes up, and down again. */
  readonly step?: { readonly upMs: number; readonly downMs: number };
}

export const LOADS = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95] as const;
const STEP = { upMs: 3_000, downMs: 6_000 } as const;

export const SCENARIOS: readonly Scenario[] = [
  ...LOADS.map((load) => scenario(idAt(load), `load ${load}`, { load: always(load) })),
  ...LOADS.map((load) =>
    scenario(idAt(load, true), `load ${load}${PLACED}`, {
      load: always(load),
      placesArrivals: true,
    }),
  ),
  scenario('even', `load 0.9, even${PLACED}`, { skew: 1, placesArrivals: true }),
  ...both('large', 'all 16 MB, load 0.7, skew 1.4', {
    load: always(0.7),
    skew: 1.4,
    sizes: [{ bytes: 16 * MB, share: 1 }],
  }),
  ...both('small', 'all 8 KB, load 0.9', { sizes: [{ bytes: 8e3, share: 1 }] }),
  ...both('slow-links', '1 Gbit/s links, load 0.8', { load: always(0.8), linkByteMs: link(1) }),
  ...both('slow-pod', 'one pod at half speed, load 0.7', { load: always(0.7), firstSpeed: 0.5 }),
  scenario('many-pods', '50 pods, reports every 500 ms, load 0.85, skew 1.15', {
    pods: 50,
    load: always(0.85),
    skew: 1.15,
    reportMs: 500,
  }),
  scenario('fan-out', 'fan-out to 16 of 1 MB each, load 0.6', {
    load: always(0.6),
    steps: 2,
    fanOut: 16,
    sizes: [{ bytes: MB, share: 1 }],
  }),
  ...[100, 500].map((reportMs) =>
    scenario(`reports-${reportMs}`, `reports every ${reportMs} ms, load 0.9${PLACED}`, {
      reportMs,
      placesArrivals: true,
    }),
  ),
  scenario('hot-spot', `hot half moves every 2 s, load 0.7, skew 1.4${PLACED}`, {
    load: always(0.7),
    skew: 1.4,
    hotMs: 2_000,
    placesArrivals: true,
  }),
  {
    ...scenario('step', `load 0.6, 1.1 for 3 s, 0.6${PLACED}`, {
      load: (atMs) => (atMs >= STEP.upMs && atMs < STEP.downMs ? 1.1 : 0.6),
      placesArrivals: true,
      lastMs: 18_000,
    }),
    step: STEP,
  },
];

/** Of the rows by load. */
export function idAt(load: number, placesArrivals = false): string {
  return `${placesArrivals ? 'placed' : 'load'}-${load}`;
}

function scenario(id: string, title: string, more: Partial<Setup>): Scenario {
  return { id, title, setup: { ...USUAL, ...more } };
}

/** With arrivals where they arrive, and with arrivals placed. */
function both(id: string, title: string, more: Partial<Setup>): Scenario[] {
  return [
    scenario(id, title, more),
    scenario(`${id}-placed`, `${title}${PLACED}`, { ...more, placesArrivals: true }),
  ];
}
