/** What an operator reads of events that wait for a payload: the store says once what ails it, each event only to who debugs. */
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { logObserver } from '../../main/observe/log-observer.ts';
import { eventOf, trigger } from '../dispatcher/resources.ts';

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
