/** What a subscriber that nobody changed gets, compared to the letter. */
import { expect } from '@jest/globals';
import type { Received } from '../subscriber.ts';

/** One event as it should arrive, in binary mode. */
export interface Arrival {
  /** All of them, and no other; without those that a Broker adds. Values as they stand in the headers. */
  readonly attributes: Readonly<Record<string, string>>;
  /** Absent: there must be none. */
  readonly contentType?: string;
  readonly body?: string | Uint8Array;
  /** Others that must be there with this value, or must not be there. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

/** RFC 3339 in UTC, with milliseconds or better. */
const ARRIVAL_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z$/;

export function expectArrival(received: Received | undefined, arrival: Arrival): void {
  const { headers = {}, body = Buffer.alloc(0) } = received ?? {};
  const { 'ce-knativearrivaltime': arrivedAt, ...others } = headers;
  const attributes = Object.fromEntries(
    Object.entries(others)
      .filter(([name]) => name.startsWith('ce-'))
      .map(([name, value]) => [name.slice(3), value]),
  );
  expect(attributes).toEqual(arrival.attributes);
  expect(arrivedAt).toMatch(ARRIVAL_TIME);
  expect(headers['content-type']).toBe(arrival.contentType);
  expect(body.toString('latin1')).toBe(Buffer.from(arrival.body ?? '').toString('latin1'));
  expect(headers).toMatchObject({ prefer: 'reply', 'kn-namespace': 'senders' });
  for (const [name, value] of Object.entries(arrival.headers ?? {})) {
    expect({ [name]: headers[name] }).toEqual({ [name]: value });
  }
}
