/**
 * When an event that is admitted to a Broker or Channel goes on to its next egress without passing the log: a local hop.
 *
 * - H1 Exactly one egress wants it (two are one record that both of them see, C4). Its subscriber is here, or nearer to nobody
 *   else; neither side keeps an order; no resource on its way has switched hops off.
 * - H2 The egress is not paused.
 * - H3 This process is known to have the resources that are in force.
 * - H4 What waits for that egress in the log comes first: nothing there has waited for over BEHIND_MAX_MS, and where
 *   slots are short, nothing waits there at all (C9).
 * - H5 Bounds: HOPS_MAX hops in a line, memory for open deliveries, and `redoMaxMs` of what a crash would repeat (C2).
 * - H6 Waiting here costs no more than going elsewhere: at most as many hops wait for slots as there are slots.
 *
 * Refused, it is appended, once, whole: that is always right, and only slower.
 */

/** Fifteen steps are longer than any Sequence that people write; a loop of Brokers comes back to the log every so often. */
export const HOPS_MAX = 16;
/** Of a record that nobody was given, although others were taken past it. */
const BEHIND_MAX_MS = 1_000;

/**
 * Why an event was appended instead.
 * - off: an annotation or the settings say so, on either side
 * - unmatched: nobody wants it · fan-out: several do
 * - ordered, paused: what its egress, or the one it comes from, asks for
 * - elsewhere: its subscriber is nearer to others
 * - unconfirmed: the resources here may be old
 * - behind: older events wait in the log for the same egress
 * - depth, bounds, redo: a bound of H5 · busy: H6
 * - dead-letter: what has failed is kept before anything else
 * - lease: nothing new is begun past the lease · stopping: this process ends
 */
export const HOP_REFUSALS = [
  'off',
  'unmatched',
  'fan-out',
  'ordered',
  'paused',
  'elsewhere',
  'unconfirmed',
  'behind',
  'depth',
  'bounds',
  'redo',
  'busy',
  'dead-letter',
  'lease',
  'stopping',
] as const;
export type HopRefusal = (typeof HOP_REFUSALS)[number];

/** What is known of the line so far. */
export interface LineState {
  /** Hops up to now. */
  readonly hops: number;
  /** Of subscribers that have finished since the last record, ms. */
  readonly finishedMs: number;
  /** The least that anybody in the line allows of that. */
  readonly redoMaxMs: number;
}

/** What is known of the egress that would be next, here. */
export interface NextState {
  readonly isPaused: boolean;
  /** The subscriber is in this place, or nearer to no other. */
  readonly isHere: boolean;
  /** Slots that nobody uses or waits for. */
  readonly freeSlots: number;
  readonly slots: number;
  /** Deliveries that wait for a slot. */
  readonly waiting: number;
  /** Records and Work that wait for it in the log, and for how long something has been waiting there at least. */
  readonly backlog: number;
  readonly behindMs: number;
}

export interface Surroundings {
  /** H3 */
  readonly isConfirmed: boolean;
  /** There is room for another open delivery (H5). */
  readonly hasRoom: boolean;
}

/** @returns why it does not hop; `undefined`: it does. Whom it is for, and what resources allow, was looked at before. */
export function hopRefusal(
  line: LineState,
  next: NextState,
  { isConfirmed, hasRoom }: Surroundings,
): HopRefusal | undefined {
  if (next.isPaused) return 'paused';
  if (!next.isHere) return 'elsewhere';
  if (!isConfirmed) return 'unconfirmed';
  if (line.hops >= HOPS_MAX) return 'depth';
  if (line.finishedMs > line.redoMaxMs) return 'redo';
  if (!hasRoom) return 'bounds';
  if (next.behindMs > BEHIND_MAX_MS) return 'behind';
  if (next.freeSlots > 0) return undefined;
  if (next.backlog > 0) return 'behind';
  return next.waiting < next.slots ? undefined : 'busy';
}
