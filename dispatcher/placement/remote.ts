/**
 * The dispatchers of other processes, as far as they matter for who pulls: where they are, and how busy.
 *
 * It owns the newest report of each, and tells of the own places.
 *
 * - G2 Who has not reported for three of his periods is not counted on: what he would have pulled is pulled by others.
 * - G3 Of places that are equally far from a subscriber, as all are from a plain address, SHARERS pull; the others are as if they were
 *   a little farther. Which ones is drawn by egress, so that each has its share.
 */
import type { LoadLine, LoadReport, LoadReports } from '../../core/ports/load-reports.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import type { Instance } from '../../core/ports/topology-feed.ts';
import type { PlaceLoad } from '../../core/rules/cost.ts';
import type { Nearness } from '../../core/rules/nearness.ts';
import type { Egress, Topology } from '../../core/topology.ts';
import { Limit } from '../limit.ts';
import { Loads, loadOf } from './loads.ts';
import { LOOK_MS, type Neighbour } from './neighbours.ts';
import { Router } from './router.ts';

/** One may end at any time. */
const SHARERS = 2;
/** While anything is under way. */
const BUSY_EVERY_MS = 50;
const IDLE_EVERY_MS = 1_000;
const MISSED_MAX = 3;
/** How long an answer is good for: as long as a place that may not pull waits before it looks again. */
const VIEW_MS = LOOK_MS;

export interface RemoteOptions {
  readonly reports: LoadReports;
  readonly clock: Clock;
  readonly ownId: string;
  readonly slotsMax: number;
  /** All processes that are there. */
  instances(): readonly Instance[];
  /** What the own places do now. */
  own(): readonly (readonly LoadLine[])[];
}

interface Heard {
  readonly loads: readonly ReadonlyMap<string, LoadLine>[];
  /** Monotonic. */
  readonly untilMs: number;
}

export interface OwnPlace {
  /** Its number. */
  readonly place: number;
  readonly nearness: Nearness;
}

export interface RemoteView {
  readonly others: readonly Neighbour[];
  /** G3: of the own place. */
  readonly isSpare: boolean;
}

interface Peer {
  readonly id: string;
  readonly place: number;
  readonly router: Router;
}

export class Remote {
  readonly #options: RemoteOptions;
  readonly #heard = new Map<string, Heard>();
  readonly #peers = new Map<string, readonly Peer[]>();
  readonly #views = new Map<string, { view: RemoteView; topology: Topology; untilMs: number }>();
  /** Of one that does nothing. */
  readonly #idle: PlaceLoad;
  #timer: Timer;
  #wasBusy = false;

  constructor(options: RemoteOptions) {
    const { reports, clock, slotsMax } = options;
    this.#options = options;
    this.#idle = loadOf(new Limit(slotsMax, clock));
    reports.listen((report) => this.#hear(report));
    this.#timer = clock.after(0, () => this.#tell());
  }

  close(): void {
    this.#timer.cancel();
  }

  /** Who else could pull for the egress, as seen from one of the own places. */
  viewOf(egress: Egress, topology: Topology, { place, nearness }: OwnPlace): RemoteView {
    const key = `${egress.id} ${String(place)}`;
    const nowMs = this.#options.clock.monotonicMs();
    const known = this.#views.get(key);
    if (known && known.untilMs > nowMs && known.topology === topology) return known.view;
    const view = this.#look(egress, topology, { place, nearness });
    this.#views.set(key, { view, topology, untilMs: nowMs + VIEW_MS });
    return view;
  }

  /** Of egresses that are not there any more. */
  forget(topology: Topology): void {
    for (const [key, view] of this.#views) if (view.topology !== topology) this.#views.delete(key);
  }

  #look(egress: Egress, topology: Topology, { place, nearness }: OwnPlace): RemoteView {
    const nowMs = this.#options.clock.monotonicMs();
    const all = this.#options.instances().flatMap((instance) => {
      const heard = this.#heard.get(instance.id);
      // G2
      if (!heard || heard.untilMs < nowMs) return [];
      return this.#peersOf(instance).map((peer) => {
        const line = heard.loads[peer.place]?.get(egress.id);
        return {
          id: peer.id,
          nearness: peer.router.nearnessTo(egress, topology) ?? 'any',
          load: line ?? this.#idle,
          backlog: line?.backlog ?? 0,
          isPaused: false,
        };
      });
    });
    const own = `${this.#options.ownId}/${String(place)}`;
    // G3
    const farthest = all.filter((each) => each.nearness === 'any').map(({ id }) => id);
    if (nearness === 'any') farthest.push(own);
    const isSpare = (id: string) => farthest.includes(id) && !isSharer(egress.id, id, farthest);
    return {
      others: all.map((each) => ({ ...each, isSpare: isSpare(each.id) })),
      isSpare: isSpare(own),
    };
  }

  #peersOf({ id: instanceId, vantages }: Instance): readonly Peer[] {
    if (instanceId === this.#options.ownId) return [];
    let peers = this.#peers.get(instanceId);
    if (!peers) {
      const { clock, slotsMax } = this.#options;
      peers = vantages.map((vantage, place) => ({
        id: `${instanceId}/${String(place)}`,
        place,
        router: new Router({ vantage, loads: new Loads(clock, slotsMax), usesLoopback: false }),
      }));
      this.#peers.set(instanceId, peers);
    }
    return peers;
  }

  #hear(report: LoadReport): void {
    const { ownId, clock } = this.#options;
    if (report.instanceId === ownId) return;
    const loads = report.places.map((lines) => new Map(lines.map((line) => [line.egressId, line])));
    const untilMs = clock.monotonicMs() + MISSED_MAX * report.everyMs;
    this.#heard.set(report.instanceId, { loads, untilMs });
    this.#forget();
  }

  #forget(): void {
    const there = new Set(this.#options.instances().map(({ id }) => id));
    for (const id of this.#heard.keys()) {
      if (there.has(id)) continue;
      const { untilMs = 0 } = this.#heard.get(id) ?? {};
      if (untilMs < this.#options.clock.monotonicMs()) this.#heard.delete(id);
      this.#peers.delete(id);
    }
  }

  #tell(): void {
    const { own, reports, ownId: instanceId, clock } = this.#options;
    const places = own();
    const isBusy = places.some((lines) => lines.length > 0);
    // What has just become idle is told once more at once.
    const everyMs = isBusy || this.#wasBusy ? BUSY_EVERY_MS : IDLE_EVERY_MS;
    reports.tell({ instanceId, everyMs: isBusy ? BUSY_EVERY_MS : IDLE_EVERY_MS, places });
    this.#wasBusy = isBusy;
    this.#timer = clock.after(everyMs, () => this.#tell());
  }
}

/** Rendezvous: each id draws a number for the egress, and the highest ones win. */
function isSharer(egressId: string, id: string, ids: readonly string[]): boolean {
  const own = draw(egressId, id);
  return ids.filter((other) => draw(egressId, other) > own).length < SHARERS;
}

/** FNV-1a, with a last turn: ids differ in their ends, which would else count for little. */
function draw(egressId: string, id: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${id} ${egressId}`)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
