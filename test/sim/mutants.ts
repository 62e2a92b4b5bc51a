/**
 * Bugs planted on purpose, one at a time, to see that the simulation finds each: a check that never fails proves nothing.
 * A mutant is a change to the text of a copy of the sources; the sources themselves know nothing of it.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Those in which it can be found. */
  readonly worlds?: 'hops';
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'a settle whose output is only in memory counts towards the 202',
    file: 'broker/log/grouped-log.ts',
    find: 'whenAllSafe([...events, ...present(keptEntries)], {\n        safe: () => {',
    replace: 'whenAllSafe([], {\n        safe: () => {',
  },
  {
    name: 'a record with a pending Work or parked entry is left out',
    file: 'broker/log/group.ts',
    find: 'entry.rows.size > 0 ||',
    replace: "[...entry.rows.values()].some(({ kind }) => kind === 'ready') ||",
  },
  {
    name: 'two settles of one lease both lower the references',
    file: 'broker/log/grouped-log.ts',
    find: 'if (!this.isOpen(row)) return undefined;',
    replace:
      "if (row.state === 'settled' && row.content) this.#committer.open.refer(row.position, -1, row.content);\n" +
      '    if (!this.isOpen(row)) return undefined;',
  },
  {
    name: 'what is replayed stays parked, too',
    file: 'broker/log/group.ts',
    find: "this.#change({ table: 'parked', key: rowKey(queue.number, position) });\n    this.leavingParked",
    replace: 'this.leavingParked',
  },
  {
    name: 'a reader that has not reached the newest position says caught up',
    file: 'broker/log/egress-queue.ts',
    find: 'return this.#cursor >= this.#highest;',
    replace: 'return this.#window.length === 0;',
  },
  {
    name: 'a reader offers a position whose settle is in memory',
    file: 'broker/log/egress-queue.ts',
    find: 'if (this.#rows.has(position)) continue;',
    replace:
      "const known = this.#rows.get(position);\n        if (known && known.state !== 'settled') continue;\n" +
      '        this.#rows.delete(position);',
  },
  {
    name: 'a slot is leaked when the lease ran out while waiting for it',
    file: 'dispatcher/dispatch.ts',
    find: '      slots.give();\n      return this.#hold.isCurrent ? this.#giveBack',
    replace: '      return this.#hold.isCurrent ? this.#giveBack',
  },
  {
    name: 'a record is written without being counted for its payload',
    file: 'broker/log/group.ts',
    find: '    this.#claim(entry.event, 1);\n',
    replace: '',
  },
  {
    name: 'a payload is called free before its last record is gone from the disk',
    file: 'broker/log/committer.ts',
    find: '    await store.commit([',
    replace:
      'for (const ref of group.freedPayloads.splice(0)) this.#parts.payloads.freed(ref);\n    await store.commit([',
  },
  {
    name: 'who lets go of a payload removes it although a record names it',
    file: 'broker/payload/holders.ts',
    find: 'if (!this.#isClaimed(id)) this.#remove(ref);',
    replace: 'this.#remove(ref);',
  },
  {
    name: 'a sweep takes payloads on their way to the log for orphans',
    file: 'broker/payload/holders.ts',
    find: 'return this.#held.has(id) || this.#isClaimed(id);',
    replace: 'return this.#isClaimed(id);',
  },
  {
    name: 'what could not be removed is forgotten',
    file: 'broker/payload/holders.ts',
    find: '          this.#leftovers.set(payloadId(ref), ref);\n',
    replace: '',
  },
  {
    name: 'a record whose write failed holds its payload for ever',
    file: 'broker/log/committer.ts',
    find: '    entry.withdraw(failure);\n    this.#releasePayload(entry);',
    replace: '    entry.withdraw(failure);',
  },
  {
    name: 'the payload of a reply is let go before the log has the reply',
    file: 'dispatcher/large-replies.ts',
    find: 'if (ref) this.#refs.push(ref);',
    replace: 'if (ref) this.#payloads.release(ref);',
  },
  {
    name: 'a payload store that is away costs an attempt',
    file: 'dispatcher/dispatch.ts',
    find: 'this.#wait(egress, { ...stage }, this.#patience.nextMs())',
    replace:
      'this.#wait(egress, { ...stage, attempt: stage.attempt + 1 }, this.#patience.nextMs())',
  },
  {
    name: 'a payload that is gone because somebody else ended the delivery counts as lost',
    file: 'dispatcher/dispatch.ts',
    find: ' || !this.#hold.delivery.isOpen',
    replace: '',
  },
  {
    name: 'an event loses its data to the dead letter sink because that of its reply is lost',
    file: 'dispatcher/attempt.ts',
    find: 'isReplyLost && ',
    replace: "isReplyLost && stage.phase === 'deliver' && ",
  },
  {
    name: 'a line of hops is settled when it begins',
    file: 'dispatcher/dispatch.ts',
    find: '    this.#origin.resize(this.#hold, event);',
    replace:
      '    void this.#hold.delivery.settle([]);\n    this.#origin.resize(this.#hold, event);',
    worlds: 'hops',
  },
  {
    name: 'what a hop leaves for later goes to the egress that the line began with',
    file: 'dispatcher/dispatch.ts',
    find: 'return this.#chain.hops > 0 ? { egressId: this.#context.egressId } : {};',
    replace: 'return {};',
    worlds: 'hops',
  },
  {
    name: 'an event hops past its lease',
    file: 'dispatcher/chain.ts',
    find: "    if (!hold.isCurrent || !hold.delivery.isOpen) return 'lease';\n",
    replace: '',
    worlds: 'hops',
  },
  {
    name: 'what a crash would repeat is not counted',
    file: 'dispatcher/chain.ts',
    find: '    this.#finishedMs += durationMs;\n',
    replace: '',
    worlds: 'hops',
  },
  {
    name: 'of several that want an event only the first one gets it by a hop',
    file: 'dispatcher/chain.ts',
    find: "    if (others.length > 0) return 'fan-out';\n",
    replace: '',
    worlds: 'hops',
  },
  {
    name: 'an event hops as it was before the door saw it, and keeps its hop count',
    file: 'dispatcher/dispatch.ts',
    find: 'this.#hop({ egress, stage, ingress, event });',
    replace: 'this.#hop({ egress, stage, ingress, event: sent });',
    worlds: 'hops',
  },
  {
    name: 'hops go before whatever waits in the log',
    file: 'core/rules/hop.ts',
    find:
      "  if (next.behindMs > BEHIND_MAX_MS) return 'behind';\n" +
      '  if (next.freeSlots > 0) return undefined;\n' +
      "  if (next.backlog > 0) return 'behind';\n",
    replace: '  if (next.freeSlots > 0) return undefined;\n',
    worlds: 'hops',
  },
  {
    name: 'a hop goes to an egress that keeps an order',
    file: 'dispatcher/chain.ts',
    find: "    if (next.order === 'key') return 'ordered';\n",
    replace: '',
    worlds: 'hops',
  },
  {
    name: 'a hop goes to an egress that is paused',
    file: 'core/rules/hop.ts',
    find: "  if (next.isPaused) return 'paused';\n",
    replace: '',
    worlds: 'hops',
  },
  {
    name: 'the payload of a reply is let go when it hops',
    file: 'dispatcher/dispatch.ts',
    find: 'this.#replies.release(event);',
    replace: 'this.#replies.release();',
    worlds: 'hops',
  },
  {
    name: 'nobody is told that a step has ended when the rest of its line is left for later',
    file: 'dispatcher/dispatch.ts',
    find: '    observeLinks({ context: this.#context, chain: this.#chain });\n',
    replace: '',
    worlds: 'hops',
  },
];

/** All that the simulation consists of. */
const COPIED = [
  'core',
  'broker/log',
  'broker/payload/holders.ts',
  'dispatcher',
  'test/sim',
  'test/fakes/claims.ts',
  'test/fakes/wrapped-log.ts',
];

/** The first seed that finds the mutant, or `undefined` when none up to `seedMax` does. */
export async function seedThatFinds(mutant: Mutant, seedMax: number): Promise<number | undefined> {
  const root = path.join(import.meta.dirname, '../..');
  const folder = path.join(root, '.cache/mutants', `${process.pid}-${MUTANTS.indexOf(mutant)}`);
  await mkdir(folder, { recursive: true });
  try {
    for (const part of COPIED) {
      await cp(path.join(root, part), path.join(folder, part), { recursive: true });
    }
    const file = path.join(folder, mutant.file);
    const source = await readFile(file, 'utf8');
    if (source.split(mutant.find).length !== 2) {
      throw new Error(`the text to change stands not once in ${mutant.file}: ${mutant.find}`);
    }
    await writeFile(
      file,
      source.replace(mutant.find, () => mutant.replace),
    );
    return await firstFailure(folder, { seedMax, worlds: mutant.worlds ?? 'plain' });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function firstFailure(
  folder: string,
  { seedMax, worlds }: { readonly seedMax: number; readonly worlds: string },
): Promise<number | undefined> {
  const program = path.join(folder, 'test/sim/run.ts');
  const args = [program, '--seeds', `1-${seedMax}`, '--until-failure', '--worlds', worlds];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: 120_000 }, (_error, stdout) => {
      const seed = /^seed (\d+):/m.exec(stdout)?.[1];
      resolve(seed === undefined ? undefined : Number(seed));
    });
  });
}
