/**
 * Which Pod is at an address. Two that claim one address (those of a Node's own network share it, and a slice may be late)
 * or one UID are both called there all the same, but neither is known to be the one: whatever is kept for a Pod must not
 * be kept for another.
 */
import type { KnownPod } from './surroundings.ts';

export interface PodClaim {
  /** `namespace/name`. */
  readonly key: string;
  /** Absent: it does not say. */
  readonly uid: string | undefined;
}

/** Who claims something; `undefined`: more than one. */
type Claims = Map<string, string | undefined>;

export class Identities {
  readonly #byAddress: Claims = new Map();
  readonly #byUid: Claims = new Map();

  /** @param pods by `namespace/name`: they claim their addresses, whether a Service has them or not. */
  constructor(pods: ReadonlyMap<string, KnownPod>) {
    for (const [key, { uid, addresses, isOver }] of pods) {
      if (isOver) continue;
      for (const address of addresses) this.add(address, { key, uid });
    }
  }

  add(address: string, claim: PodClaim | undefined): void {
    if (claim === undefined) return;
    const { key, uid } = claim;
    put(this.#byAddress, address, uid ?? key);
    if (uid !== undefined) put(this.#byUid, uid, key);
  }

  /** The UID, if it is that of one Pod alone, and the address too; to be asked when all are added. */
  podAt(address: string, claim: PodClaim | undefined): string | undefined {
    if (claim?.uid === undefined) return undefined;
    const { key, uid } = claim;
    const isAlone = this.#byAddress.get(address) === uid && this.#byUid.get(uid) === key;
    return isAlone ? uid : undefined;
  }
}

function put(claims: Claims, what: string, who: string): void {
  claims.set(what, claims.has(what) && claims.get(what) !== who ? undefined : who);
}
