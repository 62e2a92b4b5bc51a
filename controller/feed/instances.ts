/** Who is there: what others have told of themselves, for as long as they go on telling. */
import { PRESENCE_MS, ROLES, type Instance } from '../../core/ports/topology-feed.ts';
import type { Clock } from '../../core/ports/time.ts';

const VERSION = 1;

interface Heard {
  readonly instance: Instance;
  /** Monotonic. */
  readonly atMs: number;
}

export class Instances {
  readonly #clock: Clock;
  readonly #heard = new Map<string, Heard>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  hear(instance: Instance): void {
    this.#heard.set(instance.id, { instance, atMs: this.#clock.monotonicMs() });
  }

  leave(id: string): void {
    this.#heard.delete(id);
  }

  /** Without those who have not been heard for PRESENCE_MS, by the own clock. */
  all(): Instance[] {
    const sinceMs = this.#clock.monotonicMs() - PRESENCE_MS;
    for (const [id, { atMs }] of this.#heard) if (atMs < sinceMs) this.#heard.delete(id);
    return [...this.#heard.values()].map(({ instance }) => instance);
  }
}

/** @param beat counts what this instance has told */
export function textOfInstance(instance: Instance, beat: number): string {
  return JSON.stringify({ v: VERSION, beat, ...instance });
}

/** @returns `undefined` for what this version does not understand: somebody newer, who is not waited for */
export function readInstance(
  text: string,
): { readonly instance: Instance; readonly beat: number } | undefined {
  try {
    const { v, beat, ...instance } = JSON.parse(text) as Instance & {
      readonly v?: unknown;
      readonly beat?: number;
    };
    const { role, vantages, revision } = instance;
    const isKnown = v === VERSION && ROLES.includes(role);
    const isWhole = Array.isArray(vantages) && Number.isFinite(revision);
    return isKnown && isWhole ? { instance, beat: beat ?? 0 } : undefined;
  } catch {
    return undefined;
  }
}
