/** Dispatchers of other processes: who is counted on (G2), who shares what is equally far (G3), and what is told of oneself. */
import { beforeEach, describe, expect, test } from '@jest/globals';

import type { LoadLine, LoadReport, LoadReports } from '../../core/ports/load-reports.ts';
import type { Instance } from '../../core/ports/topology-feed.ts';
import type { Nearness, Vantage } from '../../core/rules/nearness.ts';
import type { Egress, Target, Topology } from '../../core/topology.ts';
import { mayPull, type Neighbour } from '../../dispatcher/placement/neighbours.ts';
import { Remote } from '../../dispatcher/placement/remote.ts';
import { FakeClock } from '../fakes/clock.ts';
import { at, subscription, topologyOf } from './resources.ts';

/** As remote.ts has them. */
const BUSY_EVERY_MS = 50;
const IDLE_EVERY_MS = 1_000;

const SERVICE = {
  kind: 'service',
  url: 'http://work.shop.svc.cluster.local/',
  service: 'shop/work',
  port: 80,
} as const satisfies Target;

/** One egress with a plain address, one whose Service has an endpoint on node-1 of zone-a. */
const FAR = subscription({ id: 'far', subscriber: at('http://somewhere.example') });
const NEAR = subscription({ id: 'near', subscriber: SERVICE });
const ENDPOINT = {
  address: '10.0.0.1',
  ports: { 80: 80 },
  isReady: true,
  node: 'node-1',
  zone: 'zone-a',
};
const topologyAt = (revision: number): Topology =>
  topologyOf(revision, {
    egresses: [FAR, NEAR],
    services: { 'shop/work': { endpoints: [ENDPOINT] } },
  });
const TOPOLOGY = topologyAt(5);

const line = (egressId: string, more: Partial<LoadLine> = {}): LoadLine => ({
  egressId,
  inFlight: 1,
  capacity: 4,
  serviceMs: 10,
  backlog: 0,
  ...more,
});

/** Processes that hear each other at once, on one clock. */
class Net {
  readonly clock = new FakeClock();
  readonly told: LoadReport[] = [];
  readonly instances: Instance[] = [];
  readonly #takers: ((report: LoadReport) => void)[] = [];

  readonly reports: LoadReports = {
    tell: (report) => {
      this.told.push(report);
      for (const take of this.#takers) take(report);
    },
    listen: (take) => void this.#takers.push(take),
  };

  /** @param vantages of its places */
  add(id: string, vantages: readonly Vantage[] = [{}], revision = 5): Process {
    this.instances.push({ id, role: 'dispatcher', version: '1.2.3', vantages, revision });
    return new Process(this, id, vantages);
  }

  /** Nobody waits for it any more. */
  remove(id: string): void {
    const at = this.instances.findIndex((each) => each.id === id);
    this.instances.splice(at, 1);
  }

  /** What was told since the last time. */
  newTold(): LoadReport[] {
    return this.told.splice(0);
  }
}

class Process {
  readonly id: string;
  readonly remote: Remote;
  /** What it does, by place. */
  lines: LoadLine[][];

  constructor({ reports, clock, instances }: Net, id: string, vantages: readonly Vantage[]) {
    this.id = id;
    this.lines = vantages.map(() => []);
    this.remote = new Remote({
      reports,
      clock,
      ownId: id,
      slotsMax: 256,
      instances: () => instances,
      own: () => this.lines,
    });
  }

  view(egress: Egress = FAR, nearness: Nearness = 'any', place = 0, topology = TOPOLOGY) {
    return this.remote.viewOf(egress, topology, { place, nearness });
  }

  /** As its egress loop asks. */
  mayPull(egress: Egress, nearness: Nearness, backlog = 0): boolean {
    const { others, isSpare } = this.view(egress, nearness);
    const load = { inFlight: 0, capacity: 4, serviceMs: 1 };
    const own: Neighbour = { nearness, load, isPaused: false, isSpare };
    return mayPull(own, others, { backlog, bytes: 1_000 });
  }
}

let net: Net;
beforeEach(() => {
  net = new Net();
});

/** Processes of one place each, which have heard of each other. */
function processes(count: number): Process[] {
  const all = Array.from({ length: count }, (_, index) => net.add(`process-${String(index)}`));
  net.clock.advance(1);
  return all;
}

const sharersOf = (all: readonly Process[], egress: Egress): string[] =>
  all.filter((each) => !each.view(egress).isSpare).map(({ id }) => id);

describe('G3 an address that is equally far from all', () => {
  const egresses = Array.from({ length: 200 }, (_, index) =>
    subscription({ id: `steps/shop/e-${String(index)}`, subscriber: at('http://somewhere') }),
  );

  test.each([{ count: 2 }, { count: 3 }, { count: 5 }, { count: 10 }])(
    'is shared by exactly two of $count, and all agree on which',
    ({ count }) => {
      const all = processes(count);
      for (const egress of egresses) {
        const sharers = sharersOf(all, egress);
        expect(sharers).toHaveLength(2);
        for (const { remote, id } of all) {
          const { others } = remote.viewOf(egress, TOPOLOGY, { place: 0, nearness: 'any' });
          expect(others).toHaveLength(count - 1);
          const isSpareById = new Map(
            others.map(({ isSpare = false, ...other }) => [idOf(other), isSpare]),
          );
          for (const other of all) {
            if (other.id === id) continue;
            expect(isSpareById.get(`${other.id}/0`)).toBe(!sharers.includes(other.id));
          }
        }
      }
    },
  );

  test('falls to each in its turn: nobody has many, nobody has none', () => {
    const all = processes(5);
    const counts = new Map<string, number>();
    for (const egress of egresses) {
      for (const id of sharersOf(all, egress)) counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    // 400 shares of five, 80 each, give or take four standard deviations of 7.
    for (const { id } of all) expect(Math.abs((counts.get(id) ?? 0) - 80)).toBeLessThan(28);
  });

  test('is pulled by its sharers alone, as long as they have room', () => {
    const all = processes(4);
    const sharers = sharersOf(all, FAR);
    for (const each of all) {
      expect([each.id, each.mayPull(FAR, 'any')]).toEqual([each.id, sharers.includes(each.id)]);
    }
  });

  test('goes to another one when a sharer is gone, and the other sharer stays', () => {
    const all = processes(4);
    const [first = '', second = ''] = sharersOf(all, FAR);
    net.remove(first);
    net.clock.advance(30);
    const left = all.filter(({ id }) => id !== first);
    const sharers = sharersOf(left, FAR);
    expect(sharers).toHaveLength(2);
    expect(sharers).toContain(second);
  });

  test('counts the places of one process, which know it of each other as others do', () => {
    const [one, two] = [net.add('one', [{}, {}, {}]), net.add('two', [{}])];
    net.clock.advance(1);
    for (const egress of egresses) {
      const own = [0, 1, 2].filter((place) => !one.view(egress, 'any', place).isSpare);
      const others = two.view(egress).others.filter(({ isSpare }) => !isSpare);
      expect(own).toHaveLength(others.length);
      expect(own.length + Number(!two.view(egress).isSpare)).toBe(2);
    }
    // The places of the own process are no others here: the process knows better what they do.
    expect(one.view().others).toHaveLength(1);
  });

  test('is nobody’s who is nearer: spares are for what is far from all', () => {
    const nodes = ['node-1', 'node-2', 'node-3', 'node-4'];
    const all = nodes.map((node) => net.add(node, [{ node, zone: 'zone-a' }]));
    net.clock.advance(1);
    for (const [index, each] of all.entries()) {
      const nearness = index === 0 ? 'node' : 'zone';
      const { others, isSpare } = each.view(NEAR, nearness);
      expect(isSpare).toBe(false);
      expect(others.map((other) => other.isSpare)).toEqual([false, false, false]);
    }
  });
});

/** The others of a view have the id of their place, for tests. */
function idOf(other: Neighbour): string {
  return 'id' in other ? String(other.id) : '';
}

describe('a peer', () => {
  const near: Vantage = { node: 'node-1', zone: 'zone-a' };

  test('is as near as its vantage is to the subscriber, place by place', () => {
    const own = net.add('own');
    net.add('other', [near, { node: 'node-2', zone: 'zone-a' }, { zone: 'zone-b' }]);
    net.clock.advance(1);
    const seen = own.view(NEAR).others.map(({ nearness }) => nearness);
    expect(seen).toEqual(['node', 'zone', 'any']);
    expect(own.view(FAR).others.map(({ nearness }) => nearness)).toEqual(['any', 'any', 'any']);
  });

  test('that is nearer and idle has all; that has more than it can do leaves some', () => {
    const own = net.add('own');
    const other = net.add('other', [near]);
    net.clock.advance(1);
    expect([own.mayPull(NEAR, 'any'), other.mayPull(NEAR, 'node')]).toEqual([false, true]);
    other.lines = [[line('near', { inFlight: 40, serviceMs: 100, backlog: 50 })]];
    net.clock.advance(IDLE_EVERY_MS);
    expect([own.mayPull(NEAR, 'any'), other.mayPull(NEAR, 'node')]).toEqual([true, true]);
    // Another egress of it is as it was, and it is told which place is at what.
    expect(own.view(NEAR).others).toMatchObject([{ backlog: 50, load: { inFlight: 40 } }]);
    expect(own.view(FAR).others).toMatchObject([
      { backlog: 0, load: { inFlight: 0, serviceMs: 0 } },
    ]);
    other.lines = [[]];
    net.clock.advance(BUSY_EVERY_MS + 26);
    expect(own.mayPull(NEAR, 'any')).toBe(false);
  });

  test('has the load of the place that has told it', () => {
    const own = net.add('own');
    const other = net.add('other', [{}, near]);
    other.lines = [[], [line('near', { inFlight: 7 })]];
    net.clock.advance(1);
    const { others } = own.view(NEAR);
    expect(others.map(({ load }) => load.inFlight)).toEqual([0, 7]);
  });
});

describe('G2 who is counted on', () => {
  const near: Vantage = { node: 'node-1', zone: 'zone-a' };
  const seen = (process: Process) => process.view(NEAR).others.length;

  test('is nobody who has told nothing, and nobody who is not there', () => {
    const own = net.add('own');
    net.clock.advance(1);
    const silent = { id: 'silent', role: 'dispatcher', version: '', vantages: [near], revision: 5 };
    net.instances.push(silent as Instance);
    net.clock.advance(26);
    expect(seen(own)).toBe(0);
    net.reports.tell({ instanceId: 'stranger', everyMs: IDLE_EVERY_MS, places: [[]] });
    net.clock.advance(26);
    expect(seen(own)).toBe(0);
    net.reports.tell({ instanceId: 'silent', everyMs: IDLE_EVERY_MS, places: [[]] });
    net.clock.advance(26);
    expect(seen(own)).toBe(1);
  });

  test.each([
    { name: 'idle', lines: [[]], everyMs: IDLE_EVERY_MS },
    { name: 'busy', lines: [[line('near')]], everyMs: BUSY_EVERY_MS },
  ])(
    'is who was heard within three periods of one that is $name, and then others pull',
    ({ lines, everyMs }) => {
      const own = net.add('own');
      const other = net.add('other', [near]);
      other.lines = lines;
      net.clock.advance(1);
      other.remote.close();
      net.clock.advance(3 * everyMs - 1);
      expect([seen(own), own.mayPull(NEAR, 'any')]).toEqual([1, false]);
      // An answer is good for a moment.
      net.clock.advance(1 + 26);
      expect([seen(own), own.mayPull(NEAR, 'any')]).toEqual([0, true]);
      expect(own.view(FAR).isSpare).toBe(false);
    },
  );

  test('is not who goes by an older Topology for more than a second', () => {
    const own = net.add('own');
    const other = net.add('other', [near], 5);
    net.clock.advance(1);
    const newer = topologyAt(6);
    const others = () => own.view(NEAR, 'any', 0, newer).others.length;
    expect(others()).toBe(1);
    net.clock.advance(1_000);
    expect(others()).toBe(1);
    net.clock.advance(26);
    expect(others()).toBe(0);
    net.remove('other');
    net.instances.push({
      id: 'other',
      role: 'dispatcher',
      version: '1.2.3',
      vantages: [near],
      revision: 6,
    });
    net.clock.advance(26);
    expect(others()).toBe(1);
    other.remote.close();
  });

  test('is looked at anew when the Topology changes, and for each egress and place', () => {
    const own = net.add('own', [{}, near]);
    net.add('other', [near]);
    net.clock.advance(1);
    const before = own.view(NEAR);
    expect(own.view(NEAR)).toBe(before);
    expect(own.view(FAR)).not.toBe(before);
    expect(own.view(NEAR, 'node', 1)).not.toBe(before);
    const moved = topologyOf(6, {
      egresses: [FAR, NEAR],
      services: { 'shop/work': { endpoints: [{ ...ENDPOINT, node: 'node-9' }] } },
    });
    expect(own.view(NEAR, 'any', 0, moved).others[0]?.nearness).toBe('zone');
    own.remote.forget(moved);
    expect(own.view(NEAR, 'any', 0, moved).others[0]?.nearness).toBe('zone');
  });

  test('that is gone and comes again has no more of the old', () => {
    const own = net.add('own');
    const other = net.add('other', [near]);
    net.clock.advance(1);
    expect(seen(own)).toBe(1);
    other.remote.close();
    net.remove('other');
    // Looked for when somebody tells something.
    net.add('third');
    net.clock.advance(5 * IDLE_EVERY_MS);
    expect(seen(own)).toBe(1);
    net.add('other', [{ zone: 'zone-a' }]);
    net.clock.advance(26);
    const nearnesses = own.view(NEAR).others.map(({ nearness }) => nearness);
    expect(nearnesses).toEqual(['any', 'zone']);
  });
});

describe('what is told', () => {
  test('is one report at once, then one a second while idle, and twenty while busy', () => {
    const own = net.add('own');
    net.clock.advance(0);
    expect(net.newTold()).toEqual([{ instanceId: 'own', everyMs: IDLE_EVERY_MS, places: [[]] }]);
    net.clock.advance(10 * IDLE_EVERY_MS);
    expect(net.newTold()).toHaveLength(10);
    own.lines = [[line('far')]];
    net.clock.advance(IDLE_EVERY_MS);
    expect(net.newTold()).toEqual([
      { instanceId: 'own', everyMs: BUSY_EVERY_MS, places: [[line('far')]] },
    ]);
    net.clock.advance(IDLE_EVERY_MS);
    expect(net.newTold()).toHaveLength(20);
  });

  test('that it has become idle, too: soon, and once more', () => {
    const own = net.add('own');
    own.lines = [[line('far')]];
    net.clock.advance(BUSY_EVERY_MS);
    net.newTold();
    own.lines = [[]];
    net.clock.advance(BUSY_EVERY_MS);
    expect(net.newTold().map(({ everyMs }) => everyMs)).toEqual([IDLE_EVERY_MS]);
    net.clock.advance(BUSY_EVERY_MS);
    expect(net.newTold()).toHaveLength(1);
    net.clock.advance(IDLE_EVERY_MS - 1);
    expect(net.newTold()).toHaveLength(0);
  });

  test('is less often and no more than the busiest when there is much', () => {
    const own = net.add('own', [{}, {}]);
    const many = Array.from({ length: 5_000 }, (_, index) =>
      line(`e-${String(index)}`, { inFlight: index % 7, backlog: index }),
    );
    own.lines = [many, [line('other')]];
    net.clock.advance(0);
    const [report] = net.newTold();
    expect(report?.places.map(({ length }) => length)).toEqual([1_000, 1]);
    const kept = new Set(report?.places[0]?.map(({ egressId }) => egressId));
    expect([kept.has('e-4999'), kept.has('e-4200'), kept.has('e-100')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(report?.everyMs).toBe(6 * BUSY_EVERY_MS);
    net.clock.advance(6 * BUSY_EVERY_MS - 1);
    expect(net.newTold()).toHaveLength(0);
    net.clock.advance(1);
    expect(net.newTold()).toHaveLength(1);
    expect(own.lines[0]?.[0]?.egressId).toBe('e-0');
  });

  test('ends with the process', () => {
    const own = net.add('own');
    net.clock.advance(0);
    own.remote.close();
    net.newTold();
    net.clock.advance(10 * IDLE_EVERY_MS);
    expect(net.newTold()).toEqual([]);
    expect(net.clock.timerCount).toBe(0);
  });

  test('to itself is nothing new', () => {
    const own = net.add('own', [{}, { node: 'node-1' }]);
    net.clock.advance(100);
    expect(own.view(NEAR).others).toEqual([]);
  });
});
