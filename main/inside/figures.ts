/** What `knear top` reads of one process: who it is, whom it knows, and the numbers of each Trigger and Subscription. */
import type { Lag } from '../../core/ports/event-log.ts';
import type { Instance, Role } from '../../core/ports/topology-feed.ts';
import type { SlotsOfEgress } from '../../dispatcher/dispatcher.ts';
import type { AdminRoute } from '../admin.ts';
import { destinationOf } from '../observe/destination.ts';
import type { EgressAccount } from '../observe/ledger.ts';

export interface Figures {
  readonly self: Process;
  /** Of its group, as far as they have an admin server; none where it is alone. */
  readonly others: readonly Process[];
  /** Since the start, and as of now. */
  readonly egresses: readonly EgressFigures[];
}

export interface Process {
  readonly id: string;
  readonly role: Role;
  readonly version: string;
  readonly revision: number;
  /** Zone, node, pod, as far as known. */
  readonly places: readonly string[];
  readonly adminUrl: string;
}

export interface EgressFigures {
  /** `trigger:orders.default` */
  readonly name: string;
  /** As this process knows it. */
  readonly lag: Lag;
  readonly inUse: number;
  readonly slots: number;
  readonly waiting: number;
  readonly ends: Readonly<Record<string, number>>;
  readonly attempts: number;
  readonly failures: number;
  readonly hops: number;
  /** Attempts by nearness of the endpoint; `none`: the address was called as it was given. */
  readonly routes: Readonly<Record<string, number>>;
}

export interface FiguresOptions {
  self(): Process;
  others(): readonly Instance[];
  accounts(): Iterable<EgressAccount>;
  lag(egressId: string): Lag;
  slots(): Iterable<SlotsOfEgress>;
}

export function figuresRoute(options: FiguresOptions): AdminRoute {
  return { method: 'GET', path: '/figures', answer: () => figuresOf(options) };
}

function figuresOf({ self, others, accounts, lag, slots }: FiguresOptions): Figures {
  const slotsOf = new Map([...slots()].map((each) => [each.egressId, each.slots]));
  return {
    self: self(),
    others: others().flatMap((each) => processOf(each) ?? []),
    egresses: [...accounts()].map((account) => {
      const { inUse = 0, limit = 0, waiting = 0 } = slotsOf.get(account.id) ?? {};
      const usage = { inUse, slots: limit, waiting };
      return { ...countsOf(account), lag: lag(account.id), ...usage };
    }),
  };
}

/** What others show of themselves; `undefined`: where its admin server is, it does not tell. */
function processOf({ vantages, adminUrl, ...instance }: Instance): Process | undefined {
  if (adminUrl === undefined) return undefined;
  return { ...instance, adminUrl, places: vantages.map(placeText) };
}

export function placeText({ zone, node, pod }: Instance['vantages'][number]): string {
  return [zone, node, pod]
    .map((each) => each ?? '')
    .join('/')
    .replace(/\/+$/, '');
}

function countsOf({ id, egress, attempts, ends, hops, routes }: EgressAccount) {
  const outcomes = Object.values(attempts).flatMap((counts) => [...counts.entries()]);
  const byNearness: Record<string, number> = {};
  for (const tiers of Object.values(routes)) {
    for (const [tier, count] of Object.entries(tiers)) {
      byNearness[tier] = (byNearness[tier] ?? 0) + count;
    }
  }
  const sum = (all: readonly (readonly [string, number])[]) =>
    all.reduce((total, [, count]) => total + count, 0);
  return {
    name: egress ? destinationOf(egress) : id,
    ends,
    attempts: sum(outcomes),
    failures: sum(outcomes.filter(([code]) => code !== 'none')),
    hops: [...hops.entries()].find(([result]) => result === 'taken')?.[1] ?? 0,
    routes: byNearness,
  };
}
