/** How an event came to a Broker or Channel: from whom, and whether the log had it before. For explain.ts, when it is asked. */
import type { Egress, Ingress, Target, Topology } from '../../core/topology.ts';
import type { ExplainedWay, ResourceName, VisitSource } from './explained.ts';
import type { EventName, Passage, Stories, Story, Visit } from './stories.ts';

export function sourceOf(stories: Stories, story: Story, visit: Visit): VisitSource {
  if (visit.answeredMs !== undefined) return { kind: 'producer' };
  const here = (target: Target | undefined) =>
    target?.kind === 'ingress' && target.ingressId === visit.ingress?.id;
  for (const other of stories.all()) {
    for (const { egress, attempts } of other.passages) {
      const isReply = attempts.some(
        ({ reply }) => reply?.id === story.id && reply.source === story.source,
      );
      if (!isReply || !here(egress.reply)) continue;
      const { id, source, attributes } = other;
      const event = { id, source, type: String(attributes.get('type')) };
      return { kind: 'reply', egress: nameOfResource(egress), event };
    }
  }
  const sender = story.passages.find(
    ({ egress }) => here(egress.subscriber) || here(egress.deadLetter),
  );
  return sender ? { kind: 'egress', egress: nameOfResource(sender.egress) } : { kind: 'unknown' };
}

/** @param topology that of the visit, if it is still known */
export function wayOf(
  { way, matched }: Visit,
  { passages }: Story,
  topology: Topology | undefined,
): ExplainedWay | undefined {
  if (way === undefined) return undefined;
  if (way !== 'local-hop') return { kind: 'log', refusal: way, wantedCount: matched.length };
  const [id = ''] = matched;
  const to = topology?.egresses.get(id) ?? passages.find(({ egress }) => egress.id === id)?.egress;
  return { kind: way, ...(to && { to: nameOfResource(to) }) };
}

export interface Arrival {
  readonly story: Story;
  readonly visit: Visit;
}

/**
 * The first time since then that the event came there.
 * @param options.sinceMs wall time
 */
export function arrivalOf(
  stories: Stories,
  { id, source }: Pick<EventName, 'id' | 'source'>,
  { target, sinceMs }: { readonly target: Target | undefined; readonly sinceMs: number },
): Arrival | undefined {
  if (target?.kind !== 'ingress') return undefined;
  const story = stories.withId(id).find((each) => each.source === source);
  // Whole milliseconds are what a visit has.
  const visit = story?.visits.find(
    ({ ingress, atMs }) => ingress?.id === target.ingressId && atMs >= Math.floor(sinceMs),
  );
  return story && visit && { story, visit };
}

/** What goes on by a local hop has not ended here before all of that has. */
export function isHandedOn(
  stories: Stories,
  story: Story,
  { egress, attempts, visit }: Passage,
): boolean {
  const last = attempts.at(-1);
  const arrival = last?.reply
    ? arrivalOf(stories, last.reply, { target: egress.reply, sinceMs: last.atMs })
    : arrivalOf(stories, story, { target: egress.subscriber, sinceMs: visit?.atMs ?? 0 });
  return arrival?.visit.way === 'local-hop';
}

export function nameOfResource({ kind, namespace, name }: Ingress | Egress): ResourceName {
  return { kind, namespace, name };
}
