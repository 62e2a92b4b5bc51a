import { expect, test } from '@jest/globals';
import { FakeClock } from './clock.ts';

test('timers run in the order in which they are due, equals in the order in which they were set', () => {
  const clock = new FakeClock();
  const ran: string[] = [];
  const note = (name: string) => () => ran.push(`${name} at ${clock.monotonicMs()}`);
  clock.after(20, note('late'));
  clock.after(10, note('first'));
  clock.after(10, note('second'));
  clock.advance(9);
  expect(ran).toEqual([]);
  clock.advance(11);
  expect(ran).toEqual(['first at 10', 'second at 10', 'late at 20']);
});

test('a timer that a timer sets still runs in the same advance', () => {
  const clock = new FakeClock(1_000);
  const at: number[] = [];
  const tick = (): void => {
    at.push(clock.nowMs());
    clock.after(10, tick);
  };
  clock.after(10, tick);
  clock.advance(35);
  expect(at).toEqual([1_010, 1_020, 1_030]);
  expect([clock.nowMs(), clock.monotonicMs(), clock.timerCount]).toEqual([1_035, 35, 1]);
});

test('a timer that is cancelled never runs', () => {
  const clock = new FakeClock();
  const ran: string[] = [];
  const second = clock.after(10, () => ran.push('second'));
  clock.after(5, () => second.cancel());
  clock.advance(20);
  expect(ran).toEqual([]);
});

test('what is due soon runs in a flush, before the next timer', () => {
  const clock = new FakeClock();
  const ran: string[] = [];
  clock.soon(() => {
    ran.push('soon');
    clock.soon(() => ran.push('sooner'));
  });
  expect(ran).toEqual([]);
  clock.flush();
  expect(ran).toEqual(['soon', 'sooner']);
  clock.after(1, () => clock.soon(() => ran.push('after the timer')));
  clock.after(2, () => ran.push('next timer'));
  clock.advance(2);
  expect(ran.slice(2)).toEqual(['after the timer', 'next timer']);
});

test('a jump moves the wall clock alone', () => {
  const clock = new FakeClock(1_000);
  clock.jump(-500);
  expect([clock.nowMs(), clock.monotonicMs()]).toEqual([500, 0]);
});
