/** What knear says when it is up: where it listens, what to paste to see it work, and what is served. Pure. */
import type { Role } from '../core/ports/topology-feed.ts';
import type { ResourceStatus } from '../controller/reconcile.ts';

export interface BannerFacts {
  readonly version: string;
  readonly role: Role;
  /** Absent: it takes no events. */
  readonly ingressUrl?: string;
  readonly adminUrl: string;
  /** The folder that the resources come from; absent: it is told of them. */
  readonly resources?: string;
  readonly statuses: readonly Pick<
    ResourceStatus,
    'resourceId' | 'kind' | 'isReady' | 'reason' | 'message' | 'address'
  >[];
}

type Status = BannerFacts['statuses'][number];

/** Several lines, without one at the end. */
export function banner(facts: BannerFacts): string {
  const { version, role, ingressUrl, adminUrl, resources, statuses } = facts;
  const name = role === 'serve' ? `knear ${version}` : `knear ${role} ${version}`;
  return [
    `${name} ${ingressUrl === undefined ? 'is up' : `takes events at ${ingressUrl}`}`,
    ...(ingressUrl === undefined ? [] : tryLines(ingressUrl, statuses)),
    '',
    `health     ${adminUrl}/readyz`,
    `metrics    ${adminUrl}/metrics`,
    ...(resources === undefined
      ? []
      : [
          `resources  ${adminUrl}/resources, from ${resources}`,
          ...resourceLines(statuses, adminUrl),
        ]),
  ].join('\n');
}

/** A command that works when pasted as it is, if there is a Broker to take it. */
function tryLines(ingressUrl: string, statuses: readonly Status[]): string[] {
  const address = brokerAddress(statuses);
  if (address === undefined) return [];
  return [
    '',
    'Send it an event:',
    '',
    `  curl -i ${ingressUrl}${address} \\`,
    "    -H 'ce-specversion: 1.0' -H 'ce-id: order-1' -H 'ce-source: /shop' -H 'ce-type: order.created' \\",
    `    -H 'content-type: application/json' -d '{"order":"A-1","amount":42}'`,
  ];
}

/** `default` in namespace `default` is what everybody tries first; any other one will do. */
function brokerAddress(statuses: readonly Status[]): string | undefined {
  const brokers = statuses.filter((each) => each.kind === 'Broker' && each.isReady);
  const first = brokers.find((each) => each.resourceId === 'Broker/default/default') ?? brokers[0];
  return first?.address;
}

/** 20 lines each: what fits on a screen. The rest is at /resources. */
const LINES_MAX = 20;

function resourceLines(statuses: readonly Status[], adminUrl: string): string[] {
  if (statuses.length === 0) return ['', 'Nothing is served: the folder has no resources.'];
  const ready = statuses.filter((each) => each.isReady);
  const failed = statuses.filter((each) => !each.isReady);
  return [
    ...section('Served:', ready.map(readyLine), adminUrl),
    ...section('Not ready:', failed.map(failedLine), adminUrl),
  ];
}

function section(title: string, lines: readonly string[], adminUrl: string): string[] {
  if (lines.length === 0) return [];
  const left = lines.length - LINES_MAX;
  const more = left > 0 ? [`and ${String(left)} more: ${adminUrl}/resources`] : [];
  return ['', title, ...[...lines.slice(0, LINES_MAX), ...more].map((line) => `  ${line}`)];
}

function readyLine({ resourceId, address }: Status): string {
  return address === undefined ? resourceId : `${resourceId} at ${address}`;
}

function failedLine({ resourceId, reason, message }: Status): string {
  // Messages may come with line breaks from a parser; one resource is one line.
  return `${resourceId}: ${reason}: ${message.replace(/\s+/g, ' ')}`;
}
