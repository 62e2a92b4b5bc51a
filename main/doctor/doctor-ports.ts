/** What `knear doctor` says of the two addresses: free, or who is there. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { codeOf, messageOf } from '../../core/errors.ts';
import type { Clock } from '../../core/ports/time.ts';
import type { Check } from './doctor.ts';
import type { Settings } from '../settings.ts';

/** Both are answered from memory. */
const PATIENCE_MS = 2_000;

type Places = Pick<Settings, 'host' | 'port' | 'adminHost' | 'adminPort'>;

export async function checkPlaces(settings: Places, clock: Clock): Promise<readonly Check[]> {
  const { host, port, adminHost, adminPort } = settings;
  const door = { name: 'port', flag: '--port', host, port, look: doorAt };
  const admin = { name: 'admin port', flag: '--admin-port', host: adminHost, port: adminPort };
  return [await checkPlace(door, clock), await checkPlace({ ...admin, look: adminAt }, clock)];
}

/** Whether a knear answers at the admin address. */
export async function isKnearAt(settings: Places, clock: Clock): Promise<boolean> {
  const { adminHost: host, adminPort: port } = settings;
  return port !== 0 && (await adminAt({ host, port }, clock)) !== undefined;
}

interface Place {
  readonly host: string;
  readonly port: number;
}

interface Listener extends Place {
  readonly name: string;
  readonly flag: string;
  /** What the knear there says; `undefined`: it is none. */
  look(place: Place, clock: Clock): Promise<Health | undefined>;
}

/** Why a knear takes no events at the moment; empty: it does. */
type Health = readonly string[];

async function checkPlace({ name, flag, look, ...place }: Listener, clock: Clock): Promise<Check> {
  const { host, port } = place;
  const where = `${host}:${port}`;
  const fault = await listenFault(place);
  if (fault === undefined) {
    return { name, state: 'ok', detail: port === 0 ? 'any free one' : `${where} is free` };
  }
  if (fault !== 'EADDRINUSE') {
    const detail = `nobody can listen at ${where} (${fault})`;
    return { name, state: 'FAIL', detail, advice: `choose another one (${flag}, or its host)` };
  }
  const health = await look(place, clock);
  if (health === undefined) {
    const detail = `another program listens at ${where}`;
    return { name, state: 'FAIL', detail, advice: `stop it, or choose another port (${flag})` };
  }
  if (health.length === 0) return { name, state: 'ok', detail: `a knear runs at ${where}` };
  const advice = 'docs/errors.md says for each code what to do';
  const detail = `a knear runs at ${where} and is not ready (${health.join('; ')})`;
  return { name, state: 'FAIL', detail, advice };
}

/** Why this process could not listen there: the code of the system. */
async function listenFault({ host, port }: Place): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, 'listening');
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? messageOf(error);
  } finally {
    server.close();
  }
}

/** The door refuses to be read, and with a code that nobody else has. */
async function doorAt(place: Place, clock: Clock): Promise<Health | undefined> {
  const answer = await answerOf(place, '/', clock);
  return codeOf(answer) === undefined ? undefined : [];
}

async function adminAt(place: Place, clock: Clock): Promise<Health | undefined> {
  const answer = await answerOf(place, '/readyz', clock);
  const { status, reasons } = (answer ?? {}) as { status?: unknown; reasons?: unknown };
  if ((status !== 'ready' && status !== 'not ready') || !Array.isArray(reasons)) return undefined;
  return reasons.map((reason: { code?: string; detail?: string }) =>
    [reason.code, reason.detail].filter((word) => word !== undefined).join(': '),
  );
}

/** What is answered to a GET, as JSON; `undefined` when it is something else, or nothing. */
async function answerOf({ host, port }: Place, path: string, clock: Clock): Promise<unknown> {
  const patience = new AbortController();
  const timer = clock.after(PATIENCE_MS, () => {
    patience.abort();
  });
  try {
    const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    const response = await fetch(`http://${authority}${path}`, { signal: patience.signal });
    return await response.json();
  } catch {
    return undefined; // whoever is there is no knear, which is all that is asked
  } finally {
    timer.cancel();
  }
}
