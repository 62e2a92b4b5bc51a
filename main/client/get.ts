/**
 * `knear get`: what a running knear tells of its resources, as `kubectl get` would show them. It asks the admin server
 * and only formats the answer.
 */
import { stringify } from 'yaml';
import { suggestion } from '../../controller/suggest.ts';
import { KnearError } from '../../core/errors.ts';
import { askAdmin } from './ask-admin.ts';

export interface GetOptions {
  /** As people write it: `broker`, `brokers`, `Broker`, `imc`. Absent: all. */
  readonly kind?: string;
  readonly name?: string;
  /** Absent: all. */
  readonly namespace?: string;
  readonly output: OutputFormat;
  /** Of the admin server, e.g. `http://127.0.0.1:9090`. */
  readonly adminUrl: string;
}

export const OUTPUT_FORMATS = ['table', 'yaml', 'json'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

/** Names of each kind, the way kubectl knows them; the first is printed. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  Broker: ['broker', 'brokers'],
  Trigger: ['trigger', 'triggers'],
  Channel: ['channel', 'channels', 'ch'],
  InMemoryChannel: ['inmemorychannel', 'inmemorychannels', 'imc'],
  KnearChannel: ['knearchannel', 'knearchannels', 'knch'],
  Subscription: ['subscription', 'subscriptions', 'sub'],
  Sequence: ['sequence', 'sequences'],
  Parallel: ['parallel', 'parallels'],
};

/**
 * The text to print.
 * @throws KNEAR_USAGE for a kind that does not exist, KNEAR_RESOURCE_UNKNOWN when nothing has the name,
 *   KNEAR_ADMIN_UNREACHABLE when no knear answers.
 */
export async function get(options: GetOptions): Promise<string> {
  const { name, namespace, output, adminUrl } = options;
  const kind = options.kind === undefined ? undefined : kindOf(options.kind);
  const found = (await ask(adminUrl)).filter(
    (each) =>
      (kind === undefined || each.kind === kind) &&
      (name === undefined || each.name === name) &&
      (namespace === undefined || each.namespace === namespace),
  );
  if (name !== undefined && found.length === 0) {
    const where = namespace === undefined ? '' : ` in namespace ${namespace}`;
    const what = `there is no ${kind ?? 'resource'} ${name}${where}`;
    throw new KnearError('KNEAR_RESOURCE_UNKNOWN', `${what}: see knear get`);
  }
  switch (output) {
    case 'table':
      return tableOf(found);
    case 'yaml':
      return stringify(objectsOf(found, name));
    case 'json':
      return `${JSON.stringify(objectsOf(found, name), undefined, 2)}\n`;
  }
}

function kindOf(written: string): string {
  const wanted = written.toLowerCase();
  const [kind] = Object.entries(KINDS).find(([, names]) => names.includes(wanted)) ?? [];
  if (kind !== undefined) return kind;
  const names = Object.values(KINDS).flatMap(([first = '']) => first);
  const hint = suggestion(wanted, names) || `: ${names.join(', ')}`;
  throw new KnearError('KNEAR_USAGE', `there is no kind ${written}${hint}`);
}

/** What is shown of one resource. */
interface Shown {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly isReady: boolean;
  readonly reason: string;
  readonly message: string;
  /** Absent where no version of it was ever valid. */
  readonly object?: { readonly status: Readonly<Record<string, unknown>> };
}

type Answer = Omit<Shown, 'namespace' | 'name'> & { readonly resourceId: string };

async function ask(adminUrl: string): Promise<Shown[]> {
  const answer = await askAdmin(adminUrl, '/resources');
  // What the admin server of this very program sends.
  const { resources } = answer as { readonly resources: readonly Answer[] };
  return resources.map((each) => {
    const [, namespace = '', name = ''] = each.resourceId.split('/');
    return { ...each, namespace, name };
  });
}

/** One object where a name was asked for, else a List, as `kubectl get -o yaml` gives it. */
function objectsOf(found: readonly Shown[], name: string | undefined): unknown {
  const objects = found.flatMap(({ object }) => object ?? []);
  return name !== undefined && objects.length === 1
    ? objects[0]
    : { apiVersion: 'v1', kind: 'List', items: objects };
}

function tableOf(found: readonly Shown[]): string {
  if (found.length === 0) return 'No resources found.\n';
  const hasOneKind = new Set(found.map(({ kind }) => kind)).size === 1;
  const rows = found.map(({ kind, namespace, name, isReady, reason, object }) => [
    namespace,
    hasOneKind ? name : `${KINDS[kind]?.[0] ?? kind.toLowerCase()}/${name}`,
    isReady ? 'True' : readyText(object?.status),
    isReady ? '' : reason,
    urlText(object?.status),
  ]);
  return columns([['NAMESPACE', 'NAME', 'READY', 'REASON', 'URL'], ...rows]);
}

function readyText(status: Readonly<Record<string, unknown>> | undefined): string {
  const conditions = (status?.['conditions'] ?? []) as { type: string; status: string }[];
  return conditions.find(({ type }) => type === 'Ready')?.status ?? 'False';
}

/** Where it takes events, or brings them. */
function urlText(status: Readonly<Record<string, unknown>> = {}): string {
  const { address, subscriberUri, physicalSubscription } = status as {
    address?: { url?: string };
    subscriberUri?: string;
    physicalSubscription?: { subscriberUri?: string };
  };
  return address?.url ?? subscriberUri ?? physicalSubscription?.subscriberUri ?? '';
}

/** Text in columns, wide enough for what is in them. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>(
    (widest, row) => row.map((cell, index) => Math.max(widest[index] ?? 0, cell.length)),
    [],
  );
  const lines = rows.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('   ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}
