/**
 * A Topology as entries of a key-value store, one for each ingress, egress and Service, and back. An entry alone is small however
 * many there are, and an edited Trigger is one entry.
 *
 *   i.<token> ingress   e.<token> egress   s.<token> Service   c correlation keys
 */
import { createHash } from 'node:crypto';

import { KnearError, messageOf } from '../../core/errors.ts';
import type { Egress, Ingress, ServiceEndpoints, Topology } from '../../core/topology.ts';

/** Of the entries; a reader keeps what it has when it meets another. */
const VERSION = 1;
const CORRELATION_KEYS = 'c';

type Entry =
  | { readonly kind: 'ingress'; readonly value: Ingress }
  | { readonly kind: 'egress'; readonly value: Egress }
  | { readonly kind: 'service'; readonly id: string; readonly value: ServiceEndpoints }
  | { readonly kind: 'correlation-keys'; readonly value: readonly (readonly [string, string])[] };

/** Key -> text. */
export function entriesOf(topology: Topology): Map<string, string> {
  const entries = new Map<string, string>();
  const add = (key: string, entry: Entry) =>
    entries.set(key, JSON.stringify({ v: VERSION, ...entry }));
  for (const [id, value] of topology.ingresses) add(`i.${tokenOf(id)}`, { kind: 'ingress', value });
  for (const [id, value] of topology.egresses) add(`e.${tokenOf(id)}`, { kind: 'egress', value });
  for (const [id, value] of topology.services) {
    add(`s.${tokenOf(id)}`, { kind: 'service', id, value });
  }
  if (topology.correlationKeys.size > 0) {
    add(CORRELATION_KEYS, { kind: 'correlation-keys', value: [...topology.correlationKeys] });
  }
  return entries;
}

/** What was read of a store, entry by entry. Parts that have not changed stay the same objects from build to build. */
export class TopologyEntries {
  readonly #texts = new Map<string, string>();
  readonly #parsed = new Map<string, Entry>();

  get count(): number {
    return this.#texts.size;
  }

  set(key: string, text: string): void {
    if (this.#texts.get(key) === text) return;
    this.#texts.set(key, text);
    this.#parsed.delete(key);
  }

  delete(key: string): void {
    this.#texts.delete(key);
    this.#parsed.delete(key);
  }

  clear(): void {
    this.#texts.clear();
    this.#parsed.clear();
  }

  /** @throws KNEAR_FEED_FORMAT when an entry cannot be read */
  build(revision: number): Topology {
    const ingresses = new Map<string, Ingress>();
    const egresses = new Map<string, Egress>();
    const services = new Map<string, ServiceEndpoints>();
    let correlationKeys = new Map<string, string>();
    for (const [key, text] of this.#texts) {
      const entry = this.#parsed.get(key) ?? parse(key, text);
      this.#parsed.set(key, entry);
      switch (entry.kind) {
        case 'ingress':
          ingresses.set(entry.value.id, entry.value);
          break;
        case 'egress':
          egresses.set(entry.value.id, entry.value);
          break;
        case 'service':
          services.set(entry.id, entry.value);
          break;
        case 'correlation-keys':
          correlationKeys = new Map(entry.value);
          break;
      }
    }
    return { revision, ingresses, egresses, services, correlationKeys };
  }
}

function parse(key: string, text: string): Entry {
  try {
    const { v, ...entry } = JSON.parse(text) as Entry & { readonly v?: unknown };
    if (v === VERSION) return entry;
    throw new Error(`version ${String(v)}`);
  } catch (error) {
    const detail = `the entry ${key} cannot be read by this version of knear: ${messageOf(error)}`;
    throw new KnearError('KNEAR_FEED_FORMAT', detail, { cause: error });
  }
}

/** 96 bits in letters, digits, `-` and `_`. */
function tokenOf(id: string): string {
  return createHash('sha256').update(id).digest('base64url').slice(0, 16);
}
