/**
 * What an operator reads of events: each one only who debugs, and never data, be it of the event, of a reply, or what a subscriber
 * has answered. Of those that wait for a payload the store says once what ails it.
 */
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import type { Happening } from '../../core/ports/observer.ts';
import { logObserver } from '../../main/observe/log-observer.ts';
import { channel, eventOf, trigger } from '../dispatcher/resources.ts';

test.each([
  { level: 'info', count: 0 },
  { level: 'debug', count: 1 },
])('at level $level a stall is $count lines, never with the data', ({ level, count }) => {
  const lines: string[] = [];
  const logger = pino({ level }, { write: (line) => lines.push(line) });
  const event = eventOf('1', { data: 'secret data' });
  const egress = trigger({ id: 'audit' });
  const code = 'KNEAR_PAYLOAD_STORE_AWAY';
  logObserver(logger).observe({ kind: 'stalled', egress, event, code });
  expect(lines.filter((line) => line.includes(code) && line.includes('"audit"'))).toHaveLength(
    count,
  );
  expect(lines.join('')).not.toMatch(/secret/);
});

const SECRET = eventOf('1', { data: 'secret data' });
const EGRESS = trigger({ id: 'audit' });
const FAILURE = {
  code: 'KNEAR_REJECTED',
  status: 503,
  dest: 'http://subscriber/in',
  data: Buffer.from('secret answer'),
} as const;

test.each<{ name: string; happening: Happening; told: object }>([
  {
    name: 'an attempt with its reply, its endpoint and its hops',
    happening: {
      kind: 'attempted',
      egress: EGRESS,
      event: SECRET,
      phase: 'deliver',
      attempt: 1,
      dest: 'http://subscriber/in',
      status: 200,
      hops: 2,
      route: { reason: 'nearest', nearness: 'pod', endpoint: '10.0.0.7:8080' },
      reply: eventOf('r', { data: 'secret reply' }),
      durationMs: 1,
    },
    told: {
      kind: 'attempted',
      egressId: 'audit',
      eventId: '1',
      replyId: 'r',
      hops: 2,
      route: { reason: 'nearest', nearness: 'pod', endpoint: '10.0.0.7:8080' },
    },
  },
  {
    name: 'an end with its failure',
    happening: {
      kind: 'ended',
      egress: EGRESS,
      event: SECRET,
      end: 'dead-lettered',
      failure: FAILURE,
      ageMs: 1,
    },
    told: { kind: 'ended', end: 'dead-lettered', code: 'KNEAR_REJECTED', status: 503 },
  },
  {
    name: 'a hop',
    happening: {
      kind: 'hop',
      egress: EGRESS,
      ingress: channel('steps'),
      event: SECRET,
      result: 'taken',
      to: 'charge',
    },
    told: { result: 'taken', to: 'charge', egressId: 'audit', ingressId: 'steps', eventId: '1' },
  },
])('$name is a line for who debugs, without data', ({ happening, told }) => {
  const lines: string[] = [];
  const sink = { write: (line: string) => void lines.push(line) };
  logObserver(pino({ level: 'info' }, sink)).observe(happening);
  expect(lines).toEqual([]);
  logObserver(pino({ level: 'debug' }, sink)).observe(happening);
  expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([told]);
  // As text, and as the numbers of its bytes.
  expect(lines.join('')).not.toMatch(/secret|"data"|115,101,99/);
});
