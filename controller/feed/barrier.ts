/**
 * Ready means that everybody who is there goes by it (C7): which resources of what was published last that holds for.
 *
 * It owns what is to be published, and what of it everybody is known to have had: a resource that has not changed since stays Ready
 * while others change.
 */
import type { Instance, Role } from '../../core/ports/topology-feed.ts';
import type { Topology } from '../../core/topology.ts';

export interface Wait {
  readonly reason: 'NoIngress' | 'NoDispatcher' | 'DataPlaneBehind';
  readonly message: string;
}

const PARTS: readonly { readonly role: Role; readonly wait: Wait }[] = [
  {
    role: 'ingress',
    wait: { reason: 'NoIngress', message: 'no knear ingress is there to take events' },
  },
  {
    role: 'dispatcher',
    wait: { reason: 'NoDispatcher', message: 'no knear dispatcher is there to deliver events' },
  },
];

export class Barrier {
  #revision = Number.POSITIVE_INFINITY;
  /** By resource, as it is to be, and as everybody has had it. */
  #intended = new Map<string, string>();
  #proven = new Map<string, string>();
  #instances: readonly Instance[] = [];

  /** It is to be published: nobody can have it yet. */
  intended(topology: Topology): void {
    this.#revision = Number.POSITIVE_INFINITY;
    const parts = [...topology.ingresses.values(), ...topology.egresses.values()];
    this.#intended = new Map(parts.map((part) => [part.id, JSON.stringify(part)]));
  }

  /** What was intended last has this revision. */
  published(revision: number): void {
    this.#revision = revision;
    this.#look();
  }

  /** @param instances all who are there */
  present(instances: readonly Instance[]): void {
    this.#instances = instances.filter(({ role }) => role !== 'controller');
    this.#look();
  }

  #look(): void {
    const isEverybody = this.#instances.every(({ revision }) => revision >= this.#revision);
    // Of nobody, everything could be said.
    if (isEverybody && !this.#missing()) this.#proven = this.#intended;
  }

  /** A role that nobody has. */
  #missing(): (typeof PARTS)[number] | undefined {
    return PARTS.find(({ role }) => this.#instances.every((each) => each.role !== role));
  }

  /** Why a resource is not Ready yet; `undefined`: nothing here is in its way. */
  waitOf(resourceId: string): Wait | undefined {
    const missing = this.#missing();
    if (missing) return missing.wait;
    const intended = this.#intended.get(resourceId);
    if (intended === undefined || this.#proven.get(resourceId) === intended) return undefined;
    const behind = this.#instances.filter(({ revision }) => revision < this.#revision);
    const names = behind.map(({ role, id }) => `${role} ${id}`).join(', ');
    return { reason: 'DataPlaneBehind', message: `these do not go by it yet: ${names}` };
  }
}
