/**
 * `npm run placement`: events among three nodes on one machine, and where they go.
 *
 *   orders -> knear serve, a dispatcher on each node -> reserve -> charge -> ship -> knear -> the desk, which is here
 *
 * It starts the functions at free ports, writes these into a copy of the resources beside this file, and sends the same number of
 * orders in three rounds: local hops off, local hops on, and more at a time than pods take. After each it prints what the functions
 * have seen and what knear's metrics say. Then it stays up.
 */
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openFunctions, STEPS, type Functions, type Order, type Step } from './functions.ts';
import { sinceThen, startServing, type Hops, type Sample, type Serving } from './serving.ts';

const USAGE = `npm run placement                  sends orders, shows where they go, and stays up until Ctrl-C
npm run placement -- --once        ends after that; with 1 if an order was lost
npm run placement -- --orders N    in each round, 300 unless said`;

/** Before each round, for as many orders as it has: nobody has got used to anything yet. These are not counted. */
const WARM_UP_SHARE = 0.2;
/** As many as a place sends to a subscriber at a time at first: nothing waits, so each order goes to the nearest pod. */
const FEW = 4;
/** Far more than that. */
const MANY = 120;
/** Until an order is shown: more than the retries of all steps take. */
const PATIENCE_MS = 60_000;

/** The ports in the files. */
const WRITTEN: Readonly<Record<keyof Functions['ports'], string>> = {
  reserve: '18101',
  charge: '18102',
  ship: '18103',
  desk: '18104',
};

/** Who takes an event, as metrics name it: the step that it is. */
const EGRESSES: Readonly<Record<Step | 'shown', string>> = {
  reserve: 'subscription:fulfil-kn-sequence-0.placement',
  charge: 'subscription:fulfil-kn-sequence-1.placement',
  ship: 'subscription:fulfil-kn-sequence-2.placement',
  shown: 'trigger:shown.placement',
};

/** Where an event goes on inside of knear, and from whom. */
const WAYS: Readonly<Record<string, string>> = {
  'Broker to reserve': 'trigger:orders.placement',
  'reserve to charge': EGRESSES.reserve,
  'charge to ship': EGRESSES.charge,
  'ship to Broker': EGRESSES.ship,
};

interface Plan {
  readonly name: string;
  readonly hops: Hops;
  readonly atATime: number;
}

const PLANS: readonly Plan[] = [
  { name: 'off', hops: 'off', atATime: FEW },
  { name: 'on', hops: 'chain', atATime: FEW },
  { name: 'crowd', hops: 'chain', atATime: MANY },
];

interface Round extends Plan {
  readonly sent: number;
  readonly calls: ReturnType<Functions['takeCalls']>;
  readonly samples: readonly Sample[];
  /** From sending until it is shown, of each order. */
  readonly latenciesMs: readonly number[];
}

/** Orders that are under way: what to do when they are shown. */
type Awaited = Map<string, () => void>;

interface Options {
  readonly isOnce: boolean;
  /** In each round. */
  readonly orders: number;
}

/** @returns the exit code */
async function main({ isOnce, orders }: Options): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'knear-placement-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const awaited: Awaited = new Map();
  const functions = await openFunctions((order) => shown(order, awaited));
  writeResources(join(folder, 'resources'), functions.ports);

  let serving: Serving | undefined;
  let arrived = 0;
  for (const plan of PLANS) {
    // Its counters begin anew, and nothing of the round before is on its way.
    await serving?.stop();
    serving = await startServing(folder, plan);
    const round = await runRound(serving, plan, { functions, awaited, orders });
    console.log(report(round));
    arrived += round.latenciesMs.length;
  }
  const sent = PLANS.length * orders;
  console.log(`\n${arrived} of ${sent} orders arrived`);
  if (!isOnce && serving) {
    console.log(farewell(serving, folder));
    await new Promise((resolve) => endings.push(() => resolve(undefined)));
  }
  await serving?.stop();
  await functions.close();
  return arrived === sent ? 0 : 1;
}

function writeResources(folder: string, ports: Functions['ports']): void {
  const isYaml = (file: string) => file.endsWith('.yaml');
  for (const file of readdirSync(import.meta.dirname).filter(isYaml)) {
    cpSync(join(import.meta.dirname, file), join(folder, file));
    let text = readFileSync(join(folder, file), 'utf8');
    for (const [of, port] of Object.entries(WRITTEN)) {
      // `of` is a key of WRITTEN, thus one of `ports`.
      text = text.replaceAll(port, String(ports[of as keyof Functions['ports']]));
    }
    writeFileSync(join(folder, file), text);
  }
}

function shown({ order, pods = [] }: Order, awaited: Awaited): void {
  const arrived = awaited.get(order);
  if (arrived) arrived();
  else if (!order.startsWith('round-')) console.log(`${order}: ${pods.join(' -> ')}`);
}

// --- one round ----------------------------------------------------------------------------------------------------------

interface Surroundings {
  readonly functions: Functions;
  readonly awaited: Awaited;
}

async function runRound(
  serving: Serving,
  plan: Plan,
  { functions, awaited, orders }: Pick<Options, 'orders'> & Surroundings,
): Promise<Round> {
  const { name, atATime } = plan;
  const send = (all: readonly string[]) => sendAll(serving, all, { awaited, atATime });
  await send(ids(`round-${name}-before`, Math.ceil(orders * WARM_UP_SHARE)));
  const before = await idle(serving);
  functions.takeCalls();
  const latenciesMs = await send(ids(`round-${name}`, orders));
  const samples = sinceThen(before, await idle(serving));
  return { ...plan, sent: orders, calls: functions.takeCalls(), samples, latenciesMs };
}

function ids(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index + 1}`);
}

/** Sends the next one when one has been shown. @returns the time of each that was, ms */
async function sendAll(
  { url }: Serving,
  orders: readonly string[],
  { awaited, atATime }: { readonly awaited: Awaited; readonly atATime: number },
): Promise<number[]> {
  const left = orders.values();
  const latenciesMs: number[] = [];
  await Promise.all(
    Array.from({ length: atATime }, async () => {
      for (const order of left) {
        const latencyMs = await sendOne(`${url}/placement/default`, order, awaited);
        if (latencyMs !== undefined) latenciesMs.push(latencyMs);
      }
    }),
  );
  return latenciesMs;
}

/** @returns ms; `undefined`: it was never shown */
async function sendOne(url: string, order: string, awaited: Awaited): Promise<number | undefined> {
  const startedMs = performance.now();
  const arrival = new Promise<number | undefined>((resolve) => {
    const timer = setTimeout(() => resolve(undefined), PATIENCE_MS);
    awaited.set(order, () => {
      clearTimeout(timer);
      resolve(performance.now() - startedMs);
    });
  });
  const headers = {
    'ce-specversion': '1.0',
    'ce-id': order,
    'ce-source': '/shop',
    'ce-type': 'order.created',
    'content-type': 'application/json',
  };
  const { status } = await fetch(url, { method: 'POST', headers, body: bodyOf(order) });
  if (status !== 202) throw new Error(`${order} was answered ${status}`);
  const latencyMs = await arrival;
  awaited.delete(order);
  return latencyMs;
}

function bodyOf(order: string): string {
  return JSON.stringify({ order } satisfies Order);
}

/** An order is shown before knear has heard of it. @returns the metrics once nothing is under way */
async function idle(serving: Serving): Promise<readonly Sample[]> {
  for (let tries = 0; ; tries += 1) {
    const samples = await serving.metrics();
    const isBusy = samples.some(
      ({ name, labels, value }) =>
        value > 0 &&
        (name === 'knear_open_deliveries' ||
          (name === 'knear_lag' && labels['state'] !== 'parked')),
    );
    if (!isBusy || tries === IDLE_TRIES_MAX) return samples;
    await new Promise((resolve) => setTimeout(resolve, IDLE_LOOK_MS));
  }
}

const IDLE_LOOK_MS = 20;
const IDLE_TRIES_MAX = PATIENCE_MS / IDLE_LOOK_MS;

// --- what is printed ----------------------------------------------------------------------------------------------------

function report({ hops, sent, atATime, calls, samples, latenciesMs }: Round): string {
  const steps = [...STEPS, 'shown' as const].map((step) => [
    step,
    step === 'shown' ? '(a plain address)' : counted(Object.entries(calls[step])),
    counted(routesOf(samples, EGRESSES[step])),
  ]);
  const ways = Object.entries(WAYS).map(([way, egress]) => {
    const results = resultsOf(samples, egress);
    const taken = results.filter(([result]) => result === 'taken');
    const refused = results.filter(([result]) => result !== 'taken');
    return [way, String(taken[0]?.[1] ?? 0), counted(refused)];
  });
  return [
    '',
    `== local hops ${hops === 'off' ? 'off' : 'on'}: ${sent} orders, ${atATime} at a time`,
    '',
    ...columns([['step', 'pods that were called', 'how near, and why there'], ...steps]),
    '',
    ...columns([['went on from', 'without the log', 'through the log'], ...ways]),
    '',
    `an order took ${medianOf(latenciesMs).toFixed(1)} ms (median, until it was shown); ${logLine(samples)}`,
  ].join('\n');
}

/** `node, nearest` -> how many attempts. */
function routesOf(samples: readonly Sample[], egress: string): [string, number][] {
  return ofEgress(samples, 'knear_routes_total', egress).map(({ labels, value }) => [
    `${labels['nearness']}, ${labels['reason']}`,
    value,
  ]);
}

/** `taken`, or why not -> how many events. */
function resultsOf(samples: readonly Sample[], egress: string): [string, number][] {
  return ofEgress(samples, 'knear_local_hops_total', egress).map(({ labels, value }) => [
    String(labels['result']),
    value,
  ]);
}

function ofEgress(samples: readonly Sample[], metric: string, egress: string): Sample[] {
  return samples.filter(
    ({ name, labels, value }) => name === metric && labels['egress'] === egress && value > 0,
  );
}

/** `reserve-1 134 · reserve-2 133` */
function counted(counts: readonly (readonly [string, number])[]): string {
  return counts.map(([what, count]) => `${what} ${count}`).join(' · ') || '-';
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('   ')
      .trimEnd(),
  );
}

/** What is settled before the disk has had it is not written, with hops or without. */
function logLine(samples: readonly Sample[]): string {
  const events = samples.find(
    ({ name, labels }) => name === 'knear_log_records_total' && labels['result'] === 'written',
  );
  const bytes = samples.find(({ name }) => name === 'knear_log_bytes_total');
  return `the log wrote ${events?.value ?? 0} events, ${Math.ceil((bytes?.value ?? 0) / 1024)} KiB`;
}

function medianOf(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? Number.NaN;
}

function farewell({ url, adminUrl }: Serving, folder: string): string {
  const order = `curl -i ${url}/placement/default -H 'ce-specversion: 1.0' -H 'ce-id: mine' -H 'ce-source: /me' -H 'ce-type: order.created' -H 'content-type: application/json' -d '{"order":"mine"}'`;
  return `
It stays up until Ctrl-C. An order, and what happened to it:

  ${order}
  npx knear explain mine --admin-url ${adminUrl}

Change where pods are, and send again: ${join(folder, 'resources')}
Metrics: ${adminUrl}/metrics
`;
}

/** What ends the waiting at the end. */
const endings: (() => void)[] = [];

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    // In the middle of a round there is nothing to wait for: the exit handlers end knear and remove the folder.
    if (endings.length === 0) process.exit(130);
    for (const end of endings) end();
  });
}

function optionsOf(args: string[]): Options | undefined {
  try {
    const options = {
      once: { type: 'boolean', default: false },
      orders: { type: 'string', default: '300' },
    } as const;
    const { values } = parseArgs({ args, options });
    const orders = Number(values.orders);
    return Number.isInteger(orders) && orders > 0 ? { isOnce: values.once, orders } : undefined;
  } catch {
    return undefined; // a flag that there is not: whoever calls shows those that there are
  }
}

const options = optionsOf(process.argv.slice(2));
if (!options) {
  console.log(USAGE);
  process.exit(2);
}
try {
  process.exitCode = await main(options);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
process.exit();
