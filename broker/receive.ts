/**
 * Bodies that are too large to hold, at the door: which they are, how they become an event, and what is left of them when
 * the request is over.
 *
 * The declared size decides before a byte has come (K2); without one, the event's data decides while it comes.
 */
import type { CloudEvent } from '../core/event.ts';
import { attributesSizeBytes, claimOf, inlineData } from '../core/event.ts';
import { dataInlineMax, EventIntake } from '../core/event-intake.ts';
import type { EventHead } from '../core/event-intake.ts';
import type { Payloads } from '../core/ports/payloads.ts';
import type { Ingress } from '../core/topology.ts';
import { admitted } from './accept.ts';
import type { Head } from './accept.ts';
import type { Body } from './body.ts';

interface Offer {
  readonly ingress: Ingress;
  readonly head: Head;
}

/** What the spool may have to write yet, and what lies in the socket: 512 KiB. */
const BEHIND_BYTES = 512 * 1024;

/**
 * How much of the body is in memory at a time, if it is passed on as it comes; `undefined`: it is small, or a batch, and
 * held whole.
 * @param declaredBytes `undefined`: nobody knows how large it will be.
 */
export function streamedBytes(
  { ingress, head }: Offer,
  declaredBytes: number | undefined,
): number | undefined {
  const { inlineMaxBytes } = ingress.claims;
  if (head.kind === 'batch' || declaredBytes === 0) return undefined;
  const headBytes = head.kind === 'binary' ? attributesSizeBytes(head.event) : 0;
  const isSmall = declaredBytes !== undefined && declaredBytes + headBytes <= inlineMaxBytes;
  return isSmall ? undefined : Math.max(inlineMaxBytes, BEHIND_BYTES);
}

/** @throws KNEAR_UPLOADS_BUSY, KNEAR_PAYLOAD_QUOTA and what else can be said before the body */
export function openIntake(
  { ingress, head }: { readonly ingress: Ingress; readonly head: EventHead },
  { payloads, declaredBytes }: { payloads: Payloads; declaredBytes: number | undefined },
): EventIntake {
  const { namespace, claims, eventMaxBytes, attributesMaxBytes } = ingress;
  return new EventIntake(head, {
    payloads,
    tenant: namespace,
    claims,
    dataMaxBytes: eventMaxBytes,
    attributesMaxBytes,
    declaredBytes,
  });
}

/** @throws what the body and the intake throw, and the code of a refusal */
export async function readLarge(
  ingress: Ingress,
  {
    body,
    intake,
    arrivalTime,
  }: {
    readonly body: Body;
    readonly intake: EventIntake;
    readonly arrivalTime: () => string;
  },
): Promise<CloudEvent> {
  await body.passOn((piece) => intake.write(piece));
  return intake.finish((event) => admitted(ingress, event, arrivalTime()));
}

/**
 * The events, each claimed by itself if it is large (K1): the record decides, which may be larger than the body that it came
 * in, or be one of many in it. All or none. @throws the codes of `Intake.finish`
 */
export async function claimLarge(
  events: readonly CloudEvent[],
  { ingress, payloads }: { readonly ingress: Ingress; readonly payloads: Payloads },
): Promise<readonly CloudEvent[]> {
  const claimed: CloudEvent[] = [];
  try {
    for (const event of events) {
      const data = inlineData(event);
      const inlineMaxBytes = dataInlineMax(event, ingress.claims);
      const isLarge = data !== undefined && data.byteLength > inlineMaxBytes;
      claimed.push(isLarge ? { ...event, data: await claim(data, ingress, payloads) } : event);
    }
    return claimed;
  } catch (error) {
    releaseAll(claimed, payloads);
    throw error;
  }
}

async function claim(
  data: Uint8Array,
  { namespace, claims: { quotaBytes } }: Ingress,
  payloads: Payloads,
): Promise<CloudEvent['data']> {
  const intake = payloads.receive({ tenant: namespace, quotaBytes, heldMaxBytes: 0 });
  try {
    await intake.write(data);
    return await intake.finish(0);
  } finally {
    intake.discard();
  }
}

/** The log has taken over what it needs of them. */
export function releaseAll(events: readonly CloudEvent[], payloads: Payloads): void {
  for (const event of events) {
    const ref = claimOf(event);
    if (ref) payloads.release(ref);
  }
}
