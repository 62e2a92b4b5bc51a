/**
 * What a log owes, as plainly as it can be said: a set of tokens, each one thing that waits for one egress. No groups, no
 * windows, no references. `log-world.ts` plays the same steps on this and on a `GroupedLog` and compares.
 *
 * The disk is the set of tokens at the moment a commit was sealed, once that commit has passed. So after each commit it
 * is known exactly what the tables must hold, and after a crash or a failure exactly what must be left.
 */

export interface Token {
  readonly egressId: string;
  readonly eventId: string;
  readonly kind: 'deliver' | 'work' | 'parked';
  readonly phase: string;
  readonly attempt: number;
  readonly originId?: string | undefined;
  /** 0: at once. */
  readonly dueAtMs: number;
  /** Not to be offered before it is durable. */
  readonly isHeld: boolean;
  wasDurable: boolean;
  /** Dropped with its egress, by a drop that is in memory only as long as the token is in `durable`. */
  isDropped: boolean;
  /** What its settle left behind, once it is settled. */
  outputs: readonly Token[] | undefined;
  /** Monotonic end of its lease; 0: it is not under one. */
  leaseUntilMs: number;
  leases: number;
}

type Plan = Pick<Token, 'egressId' | 'eventId'> & Partial<Token>;

export function token(plan: Plan): Token {
  return {
    kind: 'deliver',
    phase: 'deliver',
    attempt: 0,
    dueAtMs: 0,
    isHeld: false,
    wasDurable: false,
    isDropped: false,
    outputs: undefined,
    leaseUntilMs: 0,
    leases: 0,
    ...plan,
  };
}

export class Model {
  /** What waits, as a process that does not crash sees it. */
  live = new Set<Token>();
  /** What is on disk. */
  durable = new Set<Token>();
  #sealed: Set<Token> | undefined;

  add(tokens: readonly Token[]): void {
    for (const one of tokens) this.live.add(one);
  }

  settle(settled: Token, outputs: readonly Token[]): void {
    settled.outputs = outputs;
    settled.leaseUntilMs = 0;
    this.live.delete(settled);
    this.add(outputs);
  }

  /** Everything that waits for the egress ends; returns how much that was. */
  drop(egressId: string): number {
    const dropped = this.of(egressId);
    for (const one of dropped) {
      one.isDropped = true;
      this.live.delete(one);
    }
    // Settled, but on disk or on its way there: the settle may be undone, the drop is not.
    for (const one of [...this.durable, ...(this.#sealed ?? [])]) {
      if (one.egressId === egressId) one.isDropped = true;
    }
    return dropped.length;
  }

  /** Parked entries become Work anew, or end. Returns the Work. */
  act(egressId: string, eventIds: readonly string[], isReplay: boolean): Token[] {
    return this.of(egressId)
      .filter(({ kind, eventId }) => kind === 'parked' && eventIds.includes(eventId))
      .flatMap((parked) => {
        const { eventId } = parked;
        const left = isReplay ? [token({ egressId, eventId, kind: 'work' })] : [];
        this.settle(parked, left);
        return left;
      });
  }

  /** A commit is on its way to the disk. */
  seal(): void {
    this.#sealed = new Set(this.live);
  }

  pass(): void {
    if (!this.#sealed) throw new Error('nothing was sealed');
    this.durable = this.#sealed;
    this.#sealed = undefined;
    for (const one of this.durable) one.wasDurable = true;
  }

  /** L11: what is not durable never was; leases of the rest go on. */
  fail(): void {
    this.#sealed = undefined;
    this.live = new Set([...this.durable].filter(({ isDropped }) => !isDropped));
    for (const one of this.live) one.outputs = undefined;
  }

  /** The next process knows the disk only. */
  crash(): void {
    this.#sealed = undefined;
    this.live = new Set(this.durable);
    for (const one of this.live) {
      Object.assign(one, { outputs: undefined, isDropped: false, leaseUntilMs: 0, leases: 0 });
    }
  }

  of(egressId: string): Token[] {
    return [...this.live].filter((one) => one.egressId === egressId);
  }

  egressIds(): string[] {
    return [...new Set([...this.live].map(({ egressId }) => egressId))];
  }
}

/** L2: durable, or settled by a settle that counts. What was dropped is owed to nobody. */
export function isSafe(one: Token): boolean {
  return one.isDropped || one.wasDurable || (one.outputs?.every(isSafe) ?? false);
}

/** The same without help of a drop, which may take its time: then the answer is due at once. */
export function isAnswerDue(one: Token): boolean {
  if (one.isDropped) return false;
  return one.wasDurable || (one.outputs?.every(isAnswerDue) ?? false);
}

/** What tables and tokens are compared by. */
export function labelOf(
  one: Pick<Token, 'egressId' | 'kind' | 'eventId' | 'phase' | 'attempt' | 'originId'>,
): string {
  const { egressId, kind, eventId, phase, attempt, originId = 'none' } = one;
  const work = kind === 'work' ? ` ${phase} ${attempt} origin ${originId}` : '';
  return `${egressId}: ${kind} ${eventId}${work}`;
}
