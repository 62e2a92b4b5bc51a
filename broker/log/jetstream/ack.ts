/** Where a message is acknowledged says which message it is, and how often it was given. */
export interface Ack {
  readonly durable: string;
  readonly sequence: number;
  readonly given: number;
  /** What waited for the durable beside it. */
  readonly pending: number;
}

/**
 * `$JS.ACK.<stream>.<consumer>.<given>.<sequence>.<of consumer>.<time>.<pending>`, or with domain and account in front of the stream.
 * Source: nats-architecture-and-design, ADR-15.
 */
export function readAck(reply: string | undefined): Ack | undefined {
  if (!reply?.startsWith('$JS.ACK.')) return undefined;
  const tokens = reply.split('.');
  const start = tokens.length > 9 ? 5 : 3;
  const [durable = '', given = '', sequence = '', , , pending = ''] = tokens.slice(start);
  return {
    durable,
    given: Number(given),
    sequence: Number(sequence),
    pending: Number(pending),
  };
}
