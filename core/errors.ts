/**
 * Every error that knear names: one row a code, one paragraph a code in docs/errors.md (a test compares both).
 *
 * A code is a promise: scripts, alerts and dead letters may rely on it. Messages are for people and may change.
 * What the other side of a request answers is a value (`Outcome`), not an error; misuse by our own code is an
 * assertion without a code.
 */

interface ErrorRow {
  /** HTTP status a producer sees, where the error can reach one. */
  readonly status: number;
  /** May the same request succeed later, unchanged? Decides Retry-After and what a refused reply leads to. */
  readonly retryable: boolean;
  /** One line for the `title` of a problem document: what is wrong, without particulars. */
  readonly title: string;
}

export const ERRORS = {
  // The door: what a producer can get wrong, or has to wait for.
  KNEAR_METHOD: { status: 405, retryable: false, title: 'Only POST and OPTIONS are served here' },
  KNEAR_PATH: { status: 400, retryable: false, title: 'The path names no Broker or Channel' },
  KNEAR_INGRESS_UNKNOWN: { status: 404, retryable: true, title: 'No such Broker or Channel' },
  KNEAR_EVENT_INVALID: { status: 400, retryable: false, title: 'Not a valid CloudEvent' },
  KNEAR_STRUCTURED_INVALID: {
    status: 400,
    retryable: false,
    title: 'The body is not a valid JSON CloudEvent',
  },
  KNEAR_BATCH_INVALID: { status: 400, retryable: false, title: 'The batch is not valid' },
  KNEAR_BATCH_TOO_LONG: { status: 413, retryable: false, title: 'The batch has too many events' },
  KNEAR_BATCH_UNSUPPORTED: { status: 400, retryable: false, title: 'A reply cannot be a batch' },
  KNEAR_TTL_EXHAUSTED: { status: 400, retryable: false, title: 'The event went around too often' },
  KNEAR_EVENT_TOO_LARGE: { status: 413, retryable: false, title: 'The event is too large' },
  KNEAR_ATTRIBUTES_TOO_LARGE: {
    status: 413,
    retryable: false,
    title: 'The attributes of the event are too large',
  },
  KNEAR_CONTENT_ENCODING: {
    status: 415,
    retryable: false,
    title: 'Compressed bodies are not accepted',
  },
  KNEAR_TRANSFER_CODING: {
    status: 501,
    retryable: false,
    title: 'This transfer coding is not supported',
  },
  KNEAR_BODY_TIMEOUT: { status: 408, retryable: true, title: 'The body arrived too slowly' },
  KNEAR_BODY_TRUNCATED: { status: 400, retryable: true, title: 'The body ended too early' },
  KNEAR_OVERLOADED: { status: 429, retryable: true, title: 'Too many requests are being read' },
  KNEAR_DRAINING: { status: 503, retryable: true, title: 'This instance is shutting down' },

  // Large payloads.
  KNEAR_UPLOADS_BUSY: {
    status: 429,
    retryable: true,
    title: 'Too many large bodies are being read',
  },
  KNEAR_PAYLOAD_QUOTA: {
    status: 503,
    retryable: true,
    title: 'The payloads of this namespace used up their quota',
  },
  KNEAR_PAYLOAD_STORE_FULL: { status: 503, retryable: true, title: 'The payload store is full' },
  KNEAR_PAYLOAD_STORE_AWAY: {
    status: 503,
    retryable: true,
    title: 'The payload store does not answer',
  },
  KNEAR_PAYLOAD_STORE_DENIED: {
    status: 503,
    retryable: true,
    title: 'The payload store may not be used',
  },
  KNEAR_PAYLOAD_MISSING: { status: 500, retryable: false, title: 'The payload is missing' },
  KNEAR_PAYLOAD_CORRUPT: { status: 500, retryable: false, title: 'The payload was altered' },
  KNEAR_PAYLOAD_REDACTED: { status: 500, retryable: false, title: 'The payload was redacted' },
  KNEAR_PAYLOAD_UNKNOWN: { status: 404, retryable: true, title: 'No such payload' },
  KNEAR_PAYLOAD_FOREIGN: {
    status: 409,
    retryable: false,
    title: 'The payloads belong to another log',
  },
  KNEAR_PAYLOAD_UNLISTED: {
    status: 409,
    retryable: false,
    title: 'This log keeps no list of payloads',
  },
  KNEAR_PAYLOAD_SWEEP: {
    status: 409,
    retryable: false,
    title: 'The sweep would remove too much',
  },

  KNEAR_INTERNAL: { status: 500, retryable: true, title: 'Something failed inside knear' },

  // The log.
  KNEAR_LOG_FULL: { status: 503, retryable: true, title: 'The event log is full' },
  KNEAR_QUOTA: {
    status: 503,
    retryable: true,
    title: 'This Broker or Channel used up its share of the log',
  },
  KNEAR_LOG_FAILED: { status: 503, retryable: true, title: 'The event log could not write' },
  KNEAR_NATS_AWAY: { status: 503, retryable: true, title: 'The NATS server does not answer' },
  KNEAR_NATS_DENIED: {
    status: 503,
    retryable: true,
    title: 'The NATS server does not let knear in',
  },
  KNEAR_NATS_UNSUITABLE: {
    status: 503,
    retryable: true,
    title: 'The NATS server cannot keep the log',
  },
  KNEAR_FEED_FAILED: {
    status: 503,
    retryable: true,
    title: 'The Topology does not come through NATS',
  },
  KNEAR_FEED_FORMAT: {
    status: 503,
    retryable: true,
    title: 'The Topology is of another version of knear',
  },
  KNEAR_LEASE_GONE: { status: 503, retryable: true, title: 'Another controller leads' },
  KNEAR_LOG_LOCKED: { status: 503, retryable: true, title: 'Another process owns the data folder' },
  KNEAR_LOG_CORRUPT: { status: 503, retryable: false, title: 'The event log is damaged' },
  KNEAR_LOG_FORMAT: {
    status: 503,
    retryable: false,
    title: 'The event log was written by another version',
  },
  KNEAR_CLOSED: { status: 503, retryable: true, title: 'Used after it was closed' },

  // Deliveries: why an attempt failed. These end in dead letters, parked entries and metric labels.
  KNEAR_REJECTED: { status: 502, retryable: true, title: 'The subscriber answered with an error' },
  KNEAR_UNREACHABLE: { status: 502, retryable: true, title: 'The subscriber could not be reached' },
  KNEAR_RESET: { status: 502, retryable: true, title: 'The subscriber broke the connection' },
  KNEAR_TIMEOUT: { status: 504, retryable: true, title: 'The subscriber did not answer in time' },
  KNEAR_LEASE_LOST: { status: 500, retryable: true, title: 'Deliveries ended without an outcome' },
  KNEAR_REPLY_INVALID: {
    status: 502,
    retryable: true,
    title: 'The reply is not a valid CloudEvent',
  },
  KNEAR_REPLY_FOREIGN: { status: 502, retryable: true, title: 'The reply is not a CloudEvent' },
  KNEAR_REPLY_TOO_LARGE: { status: 502, retryable: false, title: 'The reply is too large' },
  KNEAR_SUBSCRIBER_INVALID: {
    status: 500,
    retryable: false,
    title: 'The address cannot be called',
  },

  // Resources and settings.
  KNEAR_MANIFEST_UNPARSABLE: { status: 400, retryable: false, title: 'The file is not valid YAML' },
  KNEAR_MANIFEST_INVALID: { status: 400, retryable: false, title: 'The resource is not valid' },
  KNEAR_RESOURCES_UNREADABLE: {
    status: 500,
    retryable: true,
    title: 'The resource folder cannot be read',
  },
  KNEAR_USAGE: { status: 400, retryable: false, title: 'The command line cannot be understood' },
  KNEAR_RESOURCE_UNKNOWN: { status: 404, retryable: true, title: 'No such resource' },
  KNEAR_ADMIN_FORBIDDEN: { status: 403, retryable: false, title: 'Not meant for this' },
  KNEAR_ADMIN_UNREACHABLE: { status: 502, retryable: true, title: 'No knear answers there' },
  KNEAR_SETTING_UNKNOWN: { status: 400, retryable: false, title: 'No such setting' },
  KNEAR_SETTING_INVALID: {
    status: 400,
    retryable: false,
    title: 'The setting has an unusable value',
  },
  KNEAR_PORT_IN_USE: { status: 500, retryable: true, title: 'The port is already in use' },
  KNEAR_NODE_VERSION: {
    status: 500,
    retryable: false,
    title: 'This version of Node.js is too old',
  },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

export interface KnearErrorOptions {
  readonly cause?: unknown;
  /** What the caller may be told about when to come back; whole seconds on the wire. */
  readonly retryAfterMs?: number;
  /** What is wrong with which events of a batch. */
  readonly eventErrors?: readonly EventError[];
}

/** Why one event of a batch is not taken. */
export interface EventError {
  /** Its place in the batch, from 0. */
  readonly index: number;
  readonly code: ErrorCode;
  readonly detail: string;
}

/** A failed promise of ours. Decide on `code`, never on the message or the class. */
export class KnearError extends Error {
  override readonly name = 'KnearError';
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;
  readonly eventErrors: readonly EventError[] | undefined;

  /** @param detail what happened and what to do about it, for the person who reads it. */
  constructor(code: ErrorCode, detail: string, options: KnearErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.eventErrors = options.eventErrors;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get isRetryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

/** The code of an error of ours, whatever realm it comes from; `undefined` for anything else. */
export function codeOf(error: unknown): ErrorCode | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' && Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : undefined;
}

/** What a caught value says; not everything that is thrown is an Error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
