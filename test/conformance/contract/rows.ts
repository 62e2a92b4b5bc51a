/**
 * Rows of docs/conformance.md, played with the real program: resources, how subscribers answer, what producers send, and
 * what has arrived where in the end. All rows of a file share one program. Each has a namespace and paths of its own, and all
 * are played at the same time, so that their waits together take as long as the longest; each test then looks at one row.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { eventually } from '../../e2e/eventually.ts';
import { broker, yamlOf, type Manifest } from '../../e2e/manifests.ts';
import { binary, post, type Answered, type Headers } from '../../e2e/producer.ts';
import type { Program } from '../../e2e/program.ts';
import { openStage } from '../../e2e/stage.ts';
import type { Received, Reply, Script, Subscriber } from '../../e2e/subscriber.ts';

export interface Row {
  /** That of the row in the document. */
  readonly id: string;
  readonly name: string;
  /** Without a namespace, they get that of the row. */
  readonly resources: (place: Place) => readonly Manifest[];
  /** How subscribers answer, by path; 202 where nothing is said. */
  readonly answers?: Readonly<Record<string, Reply | Script>>;
  readonly events?: readonly Sending[];
  /** What there is afterwards in place of the resources, and what is sent then. */
  readonly later?: Pick<Row, 'resources' | 'events'>;
  /** How often each path is called, all in all. A path that is not named must not be. */
  readonly calls?: Readonly<Record<string, number>>;
  /** What the last request at a path has. */
  readonly arrives?: Readonly<Record<string, Arrival>>;
  /** By `Kind/name`. */
  readonly statuses?: Readonly<Record<string, ExpectedStatus>>;
  readonly check?: (seen: Seen) => void | Promise<void>;
}

/** Where a row is played. */
export interface Place {
  readonly namespace: string;
  /** The address of a path at the subscriber. */
  url(path: string): string;
  /** The port of the subscriber, for endpoints. */
  readonly port: number;
  /** An address at which nobody listens. */
  readonly nobody: string;
}

export interface Sending {
  /** Below the namespace: `main` unless said. */
  readonly to?: string;
  /** Beside the id, `e1` for the first event of the row, and the type `asked`. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** This event in structured mode instead. */
  readonly json?: object;
  readonly headers?: Headers;
  /** Another name than that of the door. */
  readonly host?: (namespace: string) => string;
  readonly body?: string | Uint8Array;
  /** What the producer is answered: 202 unless said. */
  readonly status?: number;
}

export interface Arrival {
  readonly headers?: object;
  readonly without?: readonly string[];
  readonly body?: string | Uint8Array;
  /** The body is this, and perhaps more. */
  readonly json?: object;
}

export interface ExpectedStatus {
  /** Unless it does not matter. */
  readonly isReady?: boolean;
  readonly reason?: string;
  readonly message?: RegExp;
  /** Each `True`, or `False` and `Unknown` with a reason: `False BrokerDoesNotExist`. */
  readonly conditions?: object;
  /** Other fields of the status, and perhaps more. */
  readonly fields?: object | ((seen: Seen) => object);
  readonly without?: readonly string[];
}

/** What came of a row. */
export interface Seen extends Place {
  readonly program: Program;
  /** Grows with what is sent. */
  readonly answers: Answered[];
  /** All statuses before `later`. */
  readonly earlier: StatusEntry[];
  at(path: string): readonly Received[];
  /** How often each path was called. */
  calls(): Readonly<Record<string, number>>;
  /** Where producers reach what is at this path. */
  door(path: string): string;
}

/** Describes the rows as one suite with one program. */
export function describeRows(
  title: string,
  rows: readonly Row[],
  { flags = [] }: { readonly flags?: readonly string[] } = {},
): void {
  describe(title, () => {
    const stage = openStage();
    const seen = new Map<Row, Seen>();
    let program: Program;

    beforeAll(async () => {
      const subscriber = await stage.subscriber();
      const nobody = `http://127.0.0.1:${String(await closedPort())}/`;
      const plays = rows.map((row, index) => {
        const place = placeOf(row, index, { subscriber, nobody });
        return { row, place, manifests: written(row.resources, place) };
      });
      program = stage.program('', { flags });
      for (const { place, manifests } of plays) program.write(fileOf(place), yamlOf(...manifests));
      await program.start();
      await Promise.all(
        plays.map(async ({ row, place }) => {
          seen.set(row, await begin(row, place, { program, subscriber }));
        }),
      );
      await program.idle();
      if (rows.some(({ later }) => later)) await goOn(plays, { program, seen });
    });

    afterAll(() => stage.close());

    test.each(rows)('$id: $name', async (row) => {
      const found = seen.get(row);
      if (found) await check(row, found);
      expect(found).toBeDefined();
    });

    test('nothing of this was a fault of the program', () => {
      expect(program.complaints).toEqual([]);
    });
  });
}

function placeOf(
  { id }: Row,
  index: number,
  { subscriber, nobody }: { readonly subscriber: Subscriber; readonly nobody: string },
): Place {
  const namespace = `${id.toLowerCase()}-${String(index)}`;
  return {
    namespace,
    url: (path) => `${subscriber.url}/${namespace}/${path}`,
    port: subscriber.port,
    nobody,
  };
}

function fileOf({ namespace }: Place): string {
  return `${namespace}.yaml`;
}

function written(resources: Row['resources'], place: Place): Manifest[] {
  return resources(place).map(({ metadata, ...manifest }) => {
    const hasOwn = 'namespace' in metadata && metadata.namespace !== undefined;
    return {
      ...manifest,
      metadata: hasOwn ? metadata : { ...metadata, namespace: place.namespace },
    };
  });
}

async function begin(
  { answers: scripts = {}, events = [] }: Row,
  place: Place,
  { program, subscriber }: { readonly program: Program; readonly subscriber: Subscriber },
): Promise<Seen> {
  for (const [path, answer] of Object.entries(scripts)) {
    const script = typeof answer === 'function' ? answer : () => answer;
    subscriber.on(`/${place.namespace}/${path}`, script);
  }
  const seen = {
    ...place,
    program,
    answers: [],
    earlier: [],
    at: (path: string) => subscriber.at(`/${place.namespace}/${path}`),
    calls: () => callsOf(subscriber, `/${place.namespace}/`),
    door: (path: string) => `${program.url}/${place.namespace}/${path}`,
  };
  await sendAll(events, seen);
  return seen;
}

/** Ids go on where those before ended. */
async function sendAll(events: readonly Sending[], seen: Seen): Promise<void> {
  for (const event of events) {
    const { headers, body } = messageOf(event, `e${String(seen.answers.length + 1)}`);
    const host = event.host && { host: event.host(seen.namespace) };
    const message = { headers: { ...headers, ...host }, body };
    seen.answers.push(await post(seen.door(event.to ?? 'main'), message));
  }
}

/** Writes what the rows have later, waits until it is in force, and sends what there is to send then. */
async function goOn(
  plays: readonly { readonly row: Row; readonly place: Place; readonly manifests: Manifest[] }[],
  { program, seen }: { readonly program: Program; readonly seen: ReadonlyMap<Row, Seen> },
): Promise<void> {
  const earlier = await entriesOf(program);
  const gone = new Set<string>();
  for (const { row, place, manifests } of plays) {
    seen.get(row)?.earlier.push(...earlier);
    if (!row.later) continue;
    const after = written(row.later.resources, place);
    for (const id of manifests.map(idOf)) if (!after.map(idOf).includes(id)) gone.add(id);
    program.write(fileOf(place), yamlOf(...after));
  }
  // Written last: when it is there, so is the rest. What is removed has a second of grace.
  program.write('z.yaml', yamlOf(broker('last', { namespace: 'z' })));
  await eventually('all changes', async () => {
    const ids = (await entriesOf(program)).map(({ resourceId }) => resourceId);
    return ids.includes('Broker/z/last') && !ids.some((id) => gone.has(id));
  });
  for (const { row } of plays) {
    const one = seen.get(row);
    if (one) await sendAll(row.later?.events ?? [], one);
  }
  await program.idle();
}

function idOf({ kind, metadata }: Manifest): string {
  const { namespace, name } = metadata as { readonly namespace: string; readonly name: string };
  return `${kind}/${namespace}/${name}`;
}

function callsOf({ received }: Subscriber, prefix: string): Record<string, number> {
  const calls: Record<string, number> = {};
  for (const { path } of received) {
    if (!path.startsWith(prefix)) continue;
    const name = path.slice(prefix.length);
    calls[name] = (calls[name] ?? 0) + 1;
  }
  return calls;
}

function messageOf({ attributes = {}, json, headers = {}, body }: Sending, id: string) {
  if (json) {
    return {
      headers: { 'content-type': 'application/cloudevents+json', ...headers },
      body: JSON.stringify({ specversion: '1.0', id, source: '/e2e', type: 'asked', ...json }),
    };
  }
  return {
    headers: {
      'content-type': 'application/json',
      ...binary({ id, type: 'asked', ...attributes }),
      ...headers,
    },
    body: body ?? '{"a":1}',
  };
}

async function check(row: Row, seen: Seen): Promise<void> {
  const sent = [...(row.events ?? []), ...(row.later?.events ?? [])];
  expect(seen.answers.map(({ status }) => status)).toEqual(sent.map(({ status = 202 }) => status));
  if (row.calls) expect(seen.calls()).toEqual(row.calls);
  for (const [path, arrival] of Object.entries(row.arrives ?? {})) {
    checkArrival(seen.at(path).at(-1), arrival);
  }
  for (const [key, expected] of Object.entries(row.statuses ?? {})) {
    await checkStatus(key, expected, seen);
  }
  await row.check?.(seen);
}

function checkArrival(
  received: Received | undefined,
  { headers = {}, without = [], body, json }: Arrival,
): void {
  expect(received?.headers).toMatchObject(headers);
  for (const name of without) expect(received?.headers).not.toHaveProperty([name]);
  if (body !== undefined) expect(received?.body).toEqual(Buffer.from(body));
  if (json !== undefined) expect(JSON.parse(String(received?.body))).toMatchObject(json);
}

async function checkStatus(key: string, expected: ExpectedStatus, seen: Seen): Promise<void> {
  const { isReady, reason, message, conditions = {}, fields = {}, without = [] } = expected;
  const entry = await statusOf(seen, key);
  if (isReady !== undefined) expect(entry.isReady).toBe(isReady);
  if (reason !== undefined) expect(entry.reason).toBe(reason);
  if (message !== undefined) expect(entry.message).toMatch(message);
  const status = entry.object?.status ?? {};
  const told = Object.fromEntries(
    (status.conditions ?? []).map((each) => [
      each.type,
      each.status === 'True' ? 'True' : [each.status, each.reason].filter(Boolean).join(' '),
    ]),
  );
  expect(told).toMatchObject(conditions);
  expect(status).toMatchObject(typeof fields === 'function' ? fields(seen) : fields);
  for (const name of without) expect(status).not.toHaveProperty([name]);
}

/** What the admin port says about one resource. */
export interface StatusEntry {
  readonly resourceId: string;
  readonly isReady: boolean;
  readonly reason: string;
  readonly message: string;
  readonly infos: readonly string[];
  /** Absent where no version of it was ever valid. */
  readonly object?: {
    readonly metadata: { readonly generation?: number };
    readonly spec: object;
    readonly status: {
      readonly observedGeneration?: number;
      readonly conditions?: readonly {
        readonly type: string;
        readonly status: string;
        readonly reason?: string;
        readonly lastTransitionTime?: string;
      }[];
    };
  };
}

/** @param key `Kind/name`, in the namespace of the row. */
export async function statusOf(
  { program, namespace }: Pick<Seen, 'program' | 'namespace'>,
  key: string,
): Promise<StatusEntry> {
  return find(await entriesOf(program), namespace, key);
}

/** The same as it was before `later`. */
export function earlierStatusOf({ earlier, namespace }: Seen, key: string): StatusEntry {
  return find(earlier, namespace, key);
}

async function entriesOf(program: Program): Promise<readonly StatusEntry[]> {
  return program.statuses();
}

function find(entries: readonly StatusEntry[], namespace: string, key: string): StatusEntry {
  const [kind = '', name = ''] = key.split('/');
  const found = entries.find(({ resourceId }) => resourceId === `${kind}/${namespace}/${name}`);
  if (!found) throw new Error(`there is no status of ${key} in ${namespace}`);
  return found;
}

/** It was free a moment ago. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  // An object after `listening` on a port.
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
