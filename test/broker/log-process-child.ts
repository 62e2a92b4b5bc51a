/**
 * A process with one log on LMDB at a time, told what to do line by line: for tests that kill it, damage its files or fill its disk.
 * `log-process.ts` starts it.
 */
import { createInterface } from 'node:readline';

import { GroupedLog } from '../../broker/log/grouped-log.ts';
import { LmdbStore } from '../../broker/log/lmdb.ts';
import type { Delivery } from '../../core/ports/event-log.ts';
import { SkippingClock } from '../fakes/skipping-clock.ts';
import { eventTo, idOf, INGRESS, matchTo, parkedOutput, WIDE, workOutput } from './log-stage.ts';
import type { Answer, Command } from './log-process.ts';

const clock = new SkippingClock();
let log: GroupedLog;
/** What is damaged so badly that every pull fails is not looked at for ever. */
const FAILURES_MAX = 300;

for await (const line of createInterface({ input: process.stdin })) {
  // Written by `log-process.ts`.
  const command = JSON.parse(line) as Command;
  answer(
    await run(command).catch((error: unknown) => ({ code: codeIn(error), message: String(error) })),
  );
}

async function run(command: Command): Promise<Answer> {
  switch (command.kind) {
    case 'open': {
      const store = await LmdbStore.open({ folder: command.folder, clock });
      log = GroupedLog.open({
        store,
        clock,
        match: matchTo,
        observer: { observe: () => undefined },
        limits: { ...WIDE, reserveBytes: command.reserveBytes ?? 0 },
      });
      return {};
    }
    case 'append':
      await append(command.id, command.sizeBytes);
      return {};
    case 'fill':
      return fill(command.sizeBytes);
    case 'churn':
      return churn();
    case 'take':
      return { ids: await take() };
    case 'look':
      return { ids: await look() };
    case 'skip':
      clock.skip(command.ms);
      return { state: log.state.kind };
    case 'close':
      await log.close();
      return {};
  }
}

async function append(id: string, sizeBytes: number): Promise<void> {
  await log.append(INGRESS, [eventTo('a', { id, sizeBytes, isHeld: true })]);
}

/** Appends until that is refused. */
async function fill(sizeBytes: number): Promise<Answer> {
  const ids: string[] = [];
  for (;;) {
    const id = `e${ids.length}`;
    try {
      await append(id, sizeBytes);
    } catch (error) {
      return { ids, code: codeIn(error), message: String(error) };
    }
    ids.push(id);
  }
}

/** Appends and settles until it is killed, and says of each what it was promised. */
async function churn(): Promise<Answer> {
  const start = clock.nowMs();
  for (let n = 0; ; n += 1) {
    const ids = [0, 1, 2, 3].map((index) => `${start}-${n}-${index}`);
    await Promise.all(ids.map((id) => append(id, 2_000)));
    answer({ ids });
    const [worked, parked, settled] = await pull(3);
    await worked?.settle([workOutput(worked.event, { attempt: worked.attempt + 1 })]);
    await parked?.settle([parkedOutput(parked.event, clock.nowMs())]);
    await settled?.settle([]);
    answer({
      worked: worked && idOf(worked),
      parked: parked && idOf(parked),
      settled: settled && idOf(settled),
    });
  }
}

/** Takes and settles everything that can be had. */
async function take(): Promise<string[]> {
  const ids: string[] = [];
  for (let waiting = log.lag('a').ready; ids.length < waiting;) {
    const deliveries = await pull(waiting - ids.length);
    ids.push(...deliveries.map(idOf));
    for (const delivery of deliveries) await delivery.settle([]);
  }
  return ids;
}

/** What can be read. A pull that fails on a damaged record leaves it under a lease, so that the next one goes on. */
async function look(): Promise<string[]> {
  const ids: string[] = [];
  for (let failures = 0; failures < FAILURES_MAX;) {
    const patience = new AbortController();
    const pulled = log.pull('a', 10, { signal: patience.signal });
    setImmediate(() => patience.abort());
    try {
      const deliveries = await pulled;
      if (deliveries.length === 0) break;
      ids.push(...deliveries.map(idOf));
    } catch {
      failures += 1;
    }
  }
  return ids;
}

function pull(count: number): Promise<Delivery[]> {
  return log.pull('a', count, { signal: new AbortController().signal });
}

function answer(one: Answer): void {
  process.stdout.write(`${JSON.stringify(one)}\n`);
}

function codeIn(error: unknown): string {
  return String((error as { code?: unknown }).code);
}
