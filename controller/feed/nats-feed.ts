/**
 * The Topology in a key-value bucket of a NATS server, with the presence of those who go by it. All of it is one stream, so each
 * process sees everything in one order.
 *
 *   controller --entries, then the head--> bucket --watch--> ingress, dispatcher
 *                                            ^------------------ presence ----/
 *
 * It owns what this process has seen of the bucket, and its own presence.
 *
 * - Z1 A Topology is taken at its head, which is written last and says how many entries there are: never a part of one.
 * - Z2 Its revision is the sequence of its head: it grows, whoever publishes, for as long as the bucket exists. A new bucket counts
 *   from the beginning.
 * - Z3 Confirmed is who has heard himself: what was published before his word has reached him before it. It counts from when the
 *   word was sent, and only if he goes by the newest head that he had seen then.
 * - Z4 What was seen stays in force when the server is away, or somebody deletes the bucket: an empty bucket has no head.
 */
import { randomUUID } from 'node:crypto';

import type { JetStreamClient } from '@nats-io/jetstream';
import { Kvm, type KV, type KvWatchEntry } from '@nats-io/kv';
import type { QueuedIterator } from '@nats-io/transport-node';

import { KnearError, messageOf } from '../../core/errors.ts';
import { requireLead, type MayChange } from '../../core/lead.ts';
import {
  BEAT_MS,
  CONFIRMED_MS,
  PRESENCE_MS,
  type Instance,
  type TopologyFeed,
} from '../../core/ports/topology-feed.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import { repeat, waitAWhile } from '../../core/repeat.ts';
import type { Topology } from '../../core/topology.ts';
import { Instances, readInstance, textOfInstance } from './instances.ts';
import { entriesOf, TopologyEntries } from './topology-entries.ts';

const HEAD = 'h';
const PRESENCE = 'p.';
/** Traces of what was deleted: nobody is behind by so much without starting anew. */
const MARKER_MS = 600_000;
/** Puts that are under way at a time: enough to keep a server busy. */
const PUTS_AT_A_TIME = 128;
/** Between two tries to read a bucket that cannot be read. */
const AGAIN_MS = 1_000;

export interface NatsFeedOptions {
  readonly js: JetStreamClient;
  /** First token of the bucket's name. */
  readonly prefix: string;
  readonly clock: Clock;
  /** Makes the bucket if there is none; the others wait for it. */
  readonly mayMake: boolean;
  /** Z5: asked before each entry that is published. */
  readonly mayChange?: MayChange;
  /** Who tells of itself here; absent: it only looks. */
  readonly self?: Omit<Instance, 'id' | 'revision'>;
  /** Told once for each fault in a row; `undefined`: it works again. */
  onTrouble(error: KnearError | undefined): void;
}

export class NatsFeed implements TopologyFeed {
  readonly id = randomUUID();
  readonly #options: NatsFeedOptions;
  readonly #bucket: string;
  readonly #entries = new TopologyEntries();
  readonly #instances: Instances;
  readonly #stop = new AbortController();
  #newest: Topology | undefined;
  /** Of those who wait for another Topology. */
  readonly #waiting = new Set<() => void>();
  /** When the bucket was made, as the server says. */
  #born: string | undefined;
  /** Z1: the newest head whose Topology was taken. */
  #taken = 0;
  /** Sequence of the newest head that was seen, whole or not. */
  #headSeen = 0;
  #applied = 0;
  #adminUrl: string | undefined;
  #beat = 0;
  /** When the beats that have not been heard were sent, monotonic. */
  readonly #sentAtMs = new Map<number, number>();
  /** Z3: not applied yet. */
  #unproven: { readonly sentAtMs: number; readonly headSeen: number } | undefined;
  #confirmedAtMs = Number.NEGATIVE_INFINITY;
  #beating: Timer | undefined;
  readonly #looking: Timer;
  #watch: QueuedIterator<KvWatchEntry> | undefined;
  #isTroubled = false;

  /** It looks at the server from now on. */
  constructor(options: NatsFeedOptions) {
    this.#options = options;
    this.#bucket = `${options.prefix}_topology`;
    this.#instances = new Instances(options.clock);
    void this.#follow();
    this.#tell();
    this.#looking = repeat(options.clock, BEAT_MS, () => this.#lookAtBucket());
  }

  async *watch({ signal }: { signal: AbortSignal }): AsyncIterable<Topology> {
    const either = AbortSignal.any([signal, this.#stop.signal]);
    for (let told: Topology | undefined; ;) {
      while (!either.aborted && this.#newest === told) await this.#change(either);
      if (either.aborted) return;
      told = this.#newest;
      if (told) yield told;
    }
  }

  applied(revision: number): void {
    this.#applied = revision;
    this.#prove();
    this.#tell();
  }

  reachableAt(adminUrl: string): void {
    this.#adminUrl = adminUrl;
    this.#tell();
  }

  get isConfirmed(): boolean {
    return this.#options.clock.monotonicMs() - this.#confirmedAtMs < CONFIRMED_MS;
  }

  instances(): Instance[] {
    return this.#instances.all();
  }

  async publish(topology: Topology): Promise<number> {
    const { mayChange } = this.#options;
    try {
      const bucket = await this.#open();
      const before = await this.#readTexts(bucket);
      const wanted = entriesOf(topology);
      const changes = [...wanted].filter(([key, text]) => before.texts.get(key) !== text);
      const gone = [...before.texts.keys()].filter((key) => !wanted.has(key));
      if (changes.length + gone.length === 0 && before.head > 0) return before.head;
      await atMost(PUTS_AT_A_TIME, changes, async ([key, text]) => {
        requireLead(mayChange);
        await bucket.put(key, text);
      });
      await atMost(PUTS_AT_A_TIME, gone, async (key) => {
        requireLead(mayChange);
        await bucket.purge(key, { ttl: `${MARKER_MS / 1e3}s` });
      });
      requireLead(mayChange);
      // Z1: whoever has published in between has written another head.
      return await bucket.put(HEAD, String(wanted.size), { previousSeq: before.head });
    } catch (error) {
      throw failed('the Topology could not be published', error);
    }
  }

  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#beating?.cancel();
    this.#looking.cancel();
    this.#watch?.stop();
    if (!this.#options.self) return;
    const bucket = await this.#open().catch(() => undefined);
    await bucket?.purge(PRESENCE + this.id, { ttl: '60s' }).catch(() => undefined);
  }

  // --- the bucket -----------------------------------------------------------------------------------------------------

  #open(): Promise<KV> {
    const kvm = new Kvm(this.#options.js);
    if (!this.#options.mayMake) return kvm.open(this.#bucket);
    return kvm.create(this.#bucket, { markerTTL: MARKER_MS, description: 'knear' });
  }

  /** What is there at this moment. @returns `head`: its sequence, 0 if there is none */
  async #readTexts(bucket: KV): Promise<{ texts: Map<string, string>; head: number }> {
    const texts = new Map<string, string>();
    let head = 0;
    for await (const entry of await bucket.history({ key: ['i.>', 'e.>', 's.>', 'c', HEAD] })) {
      if (entry.key === HEAD) head = entry.revision;
      else if (entry.operation === 'PUT') texts.set(entry.key, entry.string());
    }
    return { texts, head };
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const bucket = await this.#open();
        await this.#identify(bucket);
        this.#watch = await bucket.watch();
        this.#entries.clear();
        for await (const entry of this.#watch) this.#see(entry);
      } catch (error) {
        this.#trouble(failed('the Topology cannot be read', error));
      }
      await waitAWhile(this.#options.clock, AGAIN_MS, signal);
    }
  }

  /** Z2. @returns whether it is the one that was there before */
  async #identify(bucket: KV): Promise<boolean> {
    const { created } = (await bucket.status()).streamInfo;
    if (created === this.#born) return true;
    this.#born = created;
    this.#taken = this.#headSeen = this.#applied = 0;
    return false;
  }

  /** The client goes on with the watch of a bucket that was deleted, and sees nothing of the one that comes after it. */
  async #lookAtBucket(): Promise<void> {
    if (this.#born === undefined) return;
    if (!(await this.#identify(await this.#open()))) this.#watch?.stop();
  }

  #see(entry: KvWatchEntry): void {
    const { key, operation, revision } = entry;
    if (key.startsWith(PRESENCE)) this.#seePresence(entry);
    else if (key === HEAD) this.#seeHead(entry.string(), revision);
    else if (operation === 'PUT') this.#entries.set(key, entry.string());
    else this.#entries.delete(key);
  }

  /** Z1, Z2 */
  #seeHead(count: string, revision: number): void {
    this.#headSeen = revision;
    if (String(this.#entries.count) !== count || revision <= this.#taken) return;
    this.#taken = revision;
    try {
      this.#newest = this.#entries.build(revision);
      for (const end of this.#waiting) end();
      this.#trouble(undefined);
    } catch (error) {
      this.#trouble(error as KnearError);
    }
  }

  #trouble(error: KnearError | undefined): void {
    const isTroubled = error !== undefined;
    if (isTroubled === this.#isTroubled) return;
    this.#isTroubled = isTroubled;
    this.#options.onTrouble(error);
  }

  // --- presence -------------------------------------------------------------------------------------------------------

  /** Tells that it is there, now, and from now on again and again. */
  #tell(): void {
    const { self, clock, js } = this.#options;
    if (!self || this.#stop.signal.aborted) return;
    this.#beating?.cancel();
    this.#beat += 1;
    const beat = this.#beat;
    this.#sentAtMs.set(beat, clock.monotonicMs());
    const adminUrl = this.#adminUrl;
    const known = { ...self, id: this.id, revision: this.#applied };
    const text = textOfInstance(adminUrl === undefined ? known : { ...known, adminUrl }, beat);
    // With an end of its own: the server forgets who has died.
    js.publish(`$KV.${this.#bucket}.${PRESENCE}${this.id}`, text, {
      ttl: `${PRESENCE_MS / 1e3}s`,
    }).catch(() => this.#sentAtMs.delete(beat));
    this.#beating = clock.after(BEAT_MS, () => this.#tell());
  }

  #seePresence(entry: KvWatchEntry): void {
    const id = entry.key.slice(PRESENCE.length);
    const heard = entry.operation === 'PUT' ? readInstance(entry.string()) : undefined;
    if (heard) this.#instances.hear(heard.instance);
    else this.#instances.leave(id);
    if (heard && id === this.id) this.#hearSelf(heard.beat);
  }

  /** Z3 */
  #hearSelf(beat: number): void {
    const sentAtMs = this.#sentAtMs.get(beat);
    for (const each of this.#sentAtMs.keys()) if (each <= beat) this.#sentAtMs.delete(each);
    if (sentAtMs === undefined) return;
    this.#unproven = { sentAtMs, headSeen: this.#headSeen };
    this.#prove();
  }

  #prove(): void {
    if (!this.#unproven || this.#applied < this.#unproven.headSeen || this.#applied === 0) return;
    this.#confirmedAtMs = this.#unproven.sentAtMs;
    this.#unproven = undefined;
  }

  /** Resolves with the next Topology, or when the signal aborts. */
  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        this.#waiting.delete(end);
        signal.removeEventListener('abort', end);
        resolve();
      };
      if (signal.aborted) return resolve();
      this.#waiting.add(end);
      signal.addEventListener('abort', end);
    });
  }
}

function failed(what: string, error: unknown): KnearError {
  return new KnearError('KNEAR_FEED_FAILED', `${what}: ${messageOf(error)}`, { cause: error });
}

/** Each of them, several at a time. @throws the first that any of them throws, once nothing is under way */
async function atMost<Item>(
  count: number,
  items: readonly Item[],
  work: (item: Item) => Promise<unknown>,
): Promise<void> {
  const left = items.values();
  const lane = async () => {
    for (const item of left) await work(item);
  };
  const lanes = await Promise.allSettled(Array.from({ length: count }, lane));
  for (const each of lanes) if (each.status === 'rejected') throw each.reason;
}
