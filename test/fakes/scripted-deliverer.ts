/**
 * The other side of every delivery, as a test wants it: each address answers call by call as its script says, hangs until
 * the test answers for it, or fails as only a bug of ours would. It keeps every request with its time.
 */
import { strict as assert } from 'node:assert';

import type { CloudEvent } from '../../core/event.ts';
import type { Deliverer, DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import type { Clock } from '../../core/ports/time.ts';

/** `hang`: until `answer`. An Error: the promise rejects with it. */
export type Answer = Outcome | 'hang' | Error;

export interface Call extends DeliveryRequest {
  /** Monotonic. */
  readonly atMs: number;
}

interface Hanging {
  readonly url: string;
  resolve(outcome: Outcome): void;
}

export class ScriptedDeliverer implements Deliverer {
  /** All requests so far, oldest first. */
  readonly calls: Call[] = [];
  readonly #clock: Clock;
  readonly #scripts = new Map<string, Answer[]>();
  #hanging: Hanging[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What an address answers, call by call, the last one from then on. An address without a script says 202. */
  script(url: string, ...answers: Answer[]): void {
    this.#scripts.set(url, answers);
  }

  deliver(request: DeliveryRequest): Promise<Outcome> {
    this.calls.push({ ...request, atMs: this.#clock.monotonicMs() });
    const answer = this.#nextAnswer(request.url);
    if (answer instanceof Error) return Promise.reject(answer);
    if (answer !== 'hang') return Promise.resolve(answer);
    return new Promise((resolve) => {
      this.#hanging.push({ url: request.url, resolve });
    });
  }

  /** How many requests hang, at one address or at all. */
  hangingAt(url?: string): number {
    return this.#hanging.filter((hanging) => url === undefined || hanging.url === url).length;
  }

  /** Answers the request that hangs longest, at one address or at all. */
  answer(outcome: Outcome, url?: string): void {
    const hanging = this.#hanging.find((each) => url === undefined || each.url === url);
    assert(hanging, `nothing hangs at ${url ?? 'any address'}`);
    this.#hanging = this.#hanging.filter((each) => each !== hanging);
    hanging.resolve(outcome);
  }

  callsTo(url: string): Call[] {
    return this.calls.filter((call) => call.url === url);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #nextAnswer(url: string): Answer {
    const script = this.#scripts.get(url);
    const [answer] = script ?? [];
    if (script && script.length > 1) script.shift();
    return answer ?? accepted;
  }
}

export const accepted: Outcome = { kind: 'accepted', status: 202 };

export function replied(event: CloudEvent): Outcome {
  return { kind: 'replied', status: 200, event };
}

export function rejected(
  status: number,
  more: { retryAfterMs?: number; body?: Uint8Array } = {},
): Outcome {
  return { kind: 'rejected', status, ...more };
}

export function malformed(code: Extract<Outcome, { kind: 'malformed' }>['code']): Outcome {
  return { kind: 'malformed', status: 200, code, detail: 'not what was asked for' };
}

export function unreachable(code: Extract<Outcome, { kind: 'unreachable' }>['code']): Outcome {
  return { kind: 'unreachable', code, detail: 'no answer' };
}
