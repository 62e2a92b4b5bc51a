/**
 * An event log that keeps what it is given in a list and offers nothing. For tests of what
 * comes before the log. It can refuse, fail, and make appends wait.
 */
import type { CloudEvent } from '../../core/event.ts';
import type {
  Delivery,
  EventLog,
  Lag,
  LogState,
  LogSupports,
  ParkedEntry,
  Position,
} from '../../core/ports/event-log.ts';

export class RecordingLog implements EventLog {
  readonly supports: LogSupports = {
    durability: 'none',
    ordered: true,
    delayed: false,
    history: false,
    keepsLeases: false,
    recordMaxBytes: 1_048_576,
  };
  /** What the next requests see. */
  state: LogState = { kind: 'accepting' };
  readonly usage = { bytes: 0, bytesMax: Number.POSITIVE_INFINITY };
  /** Appends that have resolved, in order. */
  readonly appends: { readonly ingressId: string; readonly event: CloudEvent }[] = [];
  #failure: Error | undefined;
  #held: Promise<void> | undefined;

  /** Appends reject with this from now on; `undefined`: no longer. */
  failWith(failure: Error | undefined): void {
    this.#failure = failure;
  }

  /** Appends wait until the function that this returns is called. */
  hold(): () => void {
    let release = (): void => undefined;
    this.#held = new Promise((resolve) => (release = resolve));
    return () => {
      this.#held = undefined;
      release();
    };
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  async append(ingressId: string, events: readonly CloudEvent[]): Promise<Position[]> {
    await this.#held;
    if (this.#failure !== undefined) throw this.#failure;
    for (const event of events) this.appends.push({ ingressId, event });
    return events.map((_event, index) => this.appends.length - events.length + index + 1);
  }

  async pull(
    _egressId: string,
    _count: number,
    { signal }: { signal: AbortSignal },
  ): Promise<Delivery[]> {
    if (!signal.aborted) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    }
    return [];
  }

  lag(): Lag {
    return { ready: 0, delayed: 0, parked: 0 };
  }

  egressIds(): string[] {
    return [];
  }

  drop(): Promise<number> {
    return Promise.resolve(0);
  }

  parked(): Promise<ParkedEntry[]> {
    return Promise.resolve([]);
  }

  replay(): Promise<number> {
    return Promise.resolve(0);
  }

  dropParked(): Promise<number> {
    return Promise.resolve(0);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
