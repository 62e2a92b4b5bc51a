/** One attempt at one address. Retrying, choosing the address and judging the answer are other people's work. */
import type { ErrorCode } from '../errors.ts';
import type { CloudEvent } from '../event.ts';
import type { ClaimPolicy } from '../topology.ts';

export interface Deliverer {
  /**
   * Sends the event once and answers with what came of it.
   * Never rejects for what the other side does. Abort: rejects with the signal's reason; the event may have arrived.
   */
  deliver(request: DeliveryRequest): Promise<Outcome>;
  close(): Promise<void>;
}

export interface DeliveryRequest {
  readonly event: CloudEvent;
  /** Where the bytes go. */
  readonly url: string;
  /** Host header, when it differs from the URL's (an endpoint called in the name of its Service). */
  readonly host?: string;
  /** PEM: authorities that are trusted there beside those that everybody trusts. */
  readonly caCerts?: string | undefined;
  /** Value of `Kn-Namespace`: the namespace of the Trigger or Subscription. */
  readonly namespace: string;
  /** Asks for a reply (`Prefer: reply`). Never set for dead letters. */
  readonly wantsReply: boolean;
  /** `json` structured, else binary. */
  readonly format: 'json' | 'binary';
  /** From the first byte out to the last byte in. */
  readonly timeoutMs: number;
  /** Longest time without progress while claimed data goes out; `timeoutMs` then counts from its last byte. */
  readonly idleMs?: number;
  /** Whose reply it would be, and how large it may be. */
  readonly replies: ReplyPolicy;
  /** Goes in place of the `traceparent` that the event keeps; absent: that one does. */
  readonly traceparent?: string;
  readonly signal?: AbortSignal;
}

export interface ReplyPolicy {
  /** The namespace that a large reply is kept for. */
  readonly tenant: string;
  readonly claims: ClaimPolicy;
}

/** What the other side answered; a value, never an exception. */
export type Outcome =
  /** 2xx without an event. */
  | { readonly kind: 'accepted'; readonly status: number }
  /** 2xx with an event. */
  | { readonly kind: 'replied'; readonly status: number; readonly event: CloudEvent }
  /** 2xx with a body that is not an event (FOREIGN), a broken one (INVALID) or one over the limit (TOO_LARGE). */
  | {
      readonly kind: 'malformed';
      readonly status: number;
      readonly code: Extract<
        ErrorCode,
        'KNEAR_REPLY_FOREIGN' | 'KNEAR_REPLY_INVALID' | 'KNEAR_REPLY_TOO_LARGE'
      >;
      readonly detail: string;
      /** Start of the body, at most FAILURE_DATA_MAX bytes. */
      readonly body?: Uint8Array;
    }
  /** Any other status. */
  | {
      readonly kind: 'rejected';
      readonly status: number;
      /** As the Retry-After header says, counted from the answer. */
      readonly retryAfterMs?: number;
      readonly body?: Uint8Array;
    }
  /** No answer. */
  | {
      readonly kind: 'unreachable';
      readonly code: Extract<
        ErrorCode,
        'KNEAR_UNREACHABLE' | 'KNEAR_RESET' | 'KNEAR_TIMEOUT' | 'KNEAR_SUBSCRIBER_INVALID'
      >;
      readonly detail: string;
    }
  /** Nothing is known of the subscriber: its data could not be read, or its reply not be kept. Reset, not cut short. */
  | {
      readonly kind: 'payload';
      readonly code: PayloadFault;
      readonly detail: string;
    };

/** Missing, altered or redacted is for good; all others pass. */
export type PayloadFault = Extract<
  ErrorCode,
  | 'KNEAR_PAYLOAD_MISSING'
  | 'KNEAR_PAYLOAD_CORRUPT'
  | 'KNEAR_PAYLOAD_REDACTED'
  | 'KNEAR_PAYLOAD_QUOTA'
  | 'KNEAR_PAYLOAD_STORE_FULL'
  | 'KNEAR_PAYLOAD_STORE_AWAY'
  | 'KNEAR_PAYLOAD_STORE_DENIED'
  | 'KNEAR_UPLOADS_BUSY'
>;
