/**
 * How old what comes from the server can be: a process that stood still, or that a network kept waiting, gets late what it was given
 * long before. Whatever comes after the answer to a word was sent after that word.
 *
 * It owns the moment of the newest word that the server has answered.
 */
import type { NatsConnection } from '@nats-io/transport-node';

import type { Clock } from '../../../core/ports/time.ts';

interface EchoOptions {
  readonly nc: NatsConnection;
  readonly clock: Clock;
  /** Whether anybody cares: else nothing is said, and nothing is old. */
  readonly isNeeded: boolean;
}

export class Echo {
  readonly #options: EchoOptions;
  /** Monotonic. */
  #heardMs: number;

  constructor(options: EchoOptions) {
    this.#options = options;
    this.#heardMs = options.clock.monotonicMs();
  }

  /** Of what comes now, at most. */
  get ageMs(): number {
    const { clock, isNeeded } = this.#options;
    return isNeeded ? clock.monotonicMs() - this.#heardMs : 0;
  }

  /** A word to the server. Without an answer, what comes grows older. */
  call(): void {
    const { nc, clock, isNeeded } = this.#options;
    const atMs = clock.monotonicMs();
    const hear = () => {
      this.#heardMs = Math.max(this.#heardMs, atMs);
    };
    if (isNeeded && !nc.isClosed()) nc.flush().then(hear, () => undefined);
  }

  /** Ends with the connection. @param onReconnect what was under way is lost */
  async follow(onReconnect: () => void): Promise<void> {
    for await (const { type } of this.#options.nc.status()) {
      if (type !== 'reconnect') continue;
      // Nothing of the connection before comes over this one.
      this.#heardMs = this.#options.clock.monotonicMs();
      onReconnect();
    }
  }
}
