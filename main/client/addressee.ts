/** The Broker or Channel that a user names on the command line, as the running knear knows it. */
import { KnearError } from '../../core/errors.ts';
import { askAdmin } from './ask-admin.ts';

export interface Addressee {
  readonly kind: 'broker' | 'channel';
  readonly namespace: string;
  readonly name: string;
  /** Where it takes events. */
  readonly url: string;
}

/** What `npm start` serves, and everybody tries first. */
const DEFAULT = 'default';

/** A Broker before a channel: more people send to one. A Channel and what stands behind it have one address. */
const KINDS: Readonly<Record<string, Addressee['kind']>> = {
  Broker: 'broker',
  KnearChannel: 'channel',
  InMemoryChannel: 'channel',
  Channel: 'channel',
};

interface Resource {
  readonly kind: string;
  readonly resourceId: string;
  readonly reason: string;
  readonly message: string;
  readonly object?: { readonly status?: { readonly address?: { readonly url?: string } } };
}

export interface AddresseeOptions {
  readonly adminUrl: string;
  /** `name` or `namespace/name`. */
  readonly written?: string | undefined;
  /** Where `written` says none. */
  readonly namespace?: string | undefined;
}

/**
 * @throws KNEAR_USAGE for what is no such name, KNEAR_RESOURCE_UNKNOWN when nothing with it takes events,
 *   KNEAR_ADMIN_UNREACHABLE when no knear answers.
 */
export async function findAddressee(options: AddresseeOptions): Promise<Addressee> {
  const { namespace, name } = namesOf(options);
  // What the admin server of this very program sends.
  const { resources } = (await askAdmin(options.adminUrl, '/resources')) as {
    readonly resources: readonly Resource[];
  };
  const candidates = resources.filter(
    ({ kind, resourceId }) =>
      Object.hasOwn(KINDS, kind) && resourceId === `${kind}/${namespace}/${name}`,
  );
  for (const [shownKind, kind] of Object.entries(KINDS)) {
    const found = candidates.find((each) => each.kind === shownKind);
    const url = found?.object?.status?.address?.url;
    if (url !== undefined) return { kind, namespace, name, url };
  }
  const [closed] = candidates;
  const detail =
    closed === undefined
      ? `there is no Broker or Channel ${namespace}/${name}: see knear get`
      : `${closed.kind} ${namespace}/${name} takes no events: ${closed.reason}: ${closed.message}`;
  throw new KnearError('KNEAR_RESOURCE_UNKNOWN', detail);
}

function namesOf({ written = DEFAULT, namespace = DEFAULT }: AddresseeOptions) {
  const parts = written.split('/');
  const [first = '', second] = parts;
  if (parts.length > 2 || parts.includes('')) {
    const detail = `${written} must be the name of a Broker or Channel, namespace/name, or a URL`;
    throw new KnearError('KNEAR_USAGE', detail);
  }
  return second === undefined ? { namespace, name: first } : { namespace: first, name: second };
}
