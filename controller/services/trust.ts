/**
 * Whether an endpoint is what its slice says. Whoever may write EndpointSlices could otherwise have events, and what knear
 * may reach, led anywhere.
 *
 * In a cluster an endpoint is a Pod of the Service's namespace that is there, with that UID and that address. What claims
 * to be anything else condemns the Service as a whole; what was true a moment ago (the Pod has been replaced, the slice
 * is late) is only left out.
 *
 * A folder is written by whoever runs knear, mostly for programs that are no Pods: what it says holds, unless the folder
 * itself says otherwise.
 */
import type { SliceEndpoint } from '../../core/resources.ts';
import { canonicalIp, isNobodyElse } from './addresses.ts';
import type { PodClaim } from './identities.ts';
import { spelled, type KnownPod, type Surroundings } from './surroundings.ts';

export type Trust = 'folder' | 'cluster';

export type Judgement =
  | {
      readonly kind: 'taken';
      readonly address: string;
      readonly pod: KnownPod | undefined;
      /** Which Pod it says it is; absent: none. */
      readonly claim: PodClaim | undefined;
    }
  | { readonly kind: 'left-out'; readonly pod: KnownPod | undefined }
  | { readonly kind: 'untrusted' };

interface Setting {
  /** The Service's. */
  readonly namespace: string;
  readonly surroundings: Surroundings;
}

export function judge(
  endpoint: SliceEndpoint,
  { trust, ...setting }: Setting & { readonly trust: Trust },
): Judgement {
  return trust === 'cluster' ? judgeInCluster(endpoint, setting) : judgeInFolder(endpoint, setting);
}

const UNTRUSTED: Judgement = { kind: 'untrusted' };

function judgeInCluster(
  { addresses: [written = ''], targetRef = {} }: SliceEndpoint,
  { namespace, surroundings: { pods, apiServer } }: Setting,
): Judgement {
  const address = canonicalIp(written);
  const { kind, name, uid } = targetRef;
  if (address === undefined || isNobodyElse(address) || apiServer.has(address)) return UNTRUSTED;
  if (kind !== 'Pod' || !name || (targetRef.namespace || namespace) !== namespace) return UNTRUSTED;
  const key = `${namespace}/${name}`;
  const pod = pods.get(key);
  return pod?.uid !== undefined && pod.uid === uid && isAt(pod, address)
    ? { kind: 'taken', address, pod, claim: { key, uid } }
    : { kind: 'left-out', pod };
}

function judgeInFolder(
  { addresses: [written = ''], targetRef = {} }: SliceEndpoint,
  { namespace, surroundings: { pods } }: Setting,
): Judgement {
  const address = spelled(written);
  const { kind, name } = targetRef;
  if ((targetRef.namespace || namespace) !== namespace) return UNTRUSTED;
  if (kind !== 'Pod' || !name) return { kind: 'taken', address, pod: undefined, claim: undefined };
  const key = `${namespace}/${name}`;
  const pod = pods.get(key);
  const uid = targetRef.uid || pod?.uid;
  // A Pod that nobody has exported has no status: nothing of what it does not say can be wrong.
  const isHere = pod === undefined || pod.addresses.size === 0 || isAt(pod, address);
  return isHere && uid === (pod?.uid ?? uid)
    ? { kind: 'taken', address, pod, claim: { key, uid } }
    : { kind: 'left-out', pod };
}

function isAt({ addresses, isOver }: KnownPod, address: string): boolean {
  return !isOver && addresses.has(address);
}
