/**
 * `knear doctor`: what would keep `knear serve` with the same settings from working, or from working well, and what to do
 * about it. It only looks; in the data folder and on a NATS server it leaves nothing but what was there. What cannot be known
 * it does not guess: a check that would have to is not there.
 *
 *   FAIL   serve would not start, or would lose or refuse events
 *   warn   it works, and something about it is worth knowing
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { INGRESS_LIMITS } from '../../broker/ingress.ts';
import { codeOf, messageOf } from '../../core/errors.ts';
import type { Clock } from '../../core/ports/time.ts';
import { checkDataFolder } from './doctor-disk.ts';
import { checkPayloads } from './doctor-payloads.ts';
import { checkPlaces } from './doctor-ports.ts';
import { packageFolder, readSettings, type Settings, type SettingSources } from '../settings.ts';
import { validate } from '../validate.ts';

export interface Check {
  readonly name: string;
  readonly state: 'ok' | 'warn' | 'FAIL';
  readonly detail: string;
  /** What to do; absent: nothing. */
  readonly advice?: string;
}

export interface DoctorOptions {
  readonly sources: SettingSources;
  readonly clock: Clock;
  pause(ms: number): Promise<void>;
}

/** All checks, in the order in which they are best mended. Never rejects: what goes wrong is what is told. */
export async function examine(options: DoctorOptions): Promise<readonly Check[]> {
  const { sources, clock } = options;
  // It wants time to pass, and the others take some.
  const clockChecked = checkClock(options);
  const settings = await readSettings(sources).catch((error: unknown) => error);
  const own = [checkNode(process.versions.node)];
  if (!isSettings(settings)) {
    const detail = `${codeOf(settings) ?? 'error'}: ${messageOf(settings)}`;
    const advice = 'correct it (docs/settings.md); folders and ports cannot be looked at before';
    own.push({ name: 'settings', state: 'FAIL', detail, advice });
    return [...own, checkOpenFiles(openFilesMax()), await clockChecked];
  }
  own.push({ name: 'settings', state: 'ok', detail: 'can be read' });
  const resources = await guarded('resources', () =>
    checkResources(settings, { cwd: sources.cwd, clock }),
  );
  const nats = await guarded('nats server', () => checkLogServer(settings, clock));
  const disk = await guarded('data folder', () => checkDataFolder(settings, clock));
  const payloads = await guarded('payloads', () => checkPayloads(settings));
  const places = await guarded('ports', () => checkPlaces(settings, clock));
  const limits = [checkOpenFiles(openFilesMax()), await clockChecked];
  return [...own, ...resources, ...nats, ...disk, ...payloads, ...places, ...limits];
}

/** A line a check, and one that counts. */
export function reportOf(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.map(({ name, state, detail, advice }) => {
    const told = `${state.padEnd(4)}  ${name.padEnd(width)}  ${oneLine(detail)}`;
    return advice === undefined ? told : `${told}: ${oneLine(advice)}`;
  });
  const count = (state: Check['state']) => checks.filter((each) => each.state === state).length;
  return `${[...lines, '', `${count('ok')} ok, ${count('warn')} warn, ${count('FAIL')} FAIL`].join('\n')}\n`;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ');
}

function isSettings(value: unknown): value is Settings {
  return !(value instanceof Error);
}

/** A check that breaks is a finding, too, and no reason to hide the others. */
async function guarded(
  name: string,
  look: () => Promise<readonly Check[]>,
): Promise<readonly Check[]> {
  try {
    return await look();
  } catch (error) {
    const code = codeOf(error);
    const detail = `${code === undefined ? '' : `${code}: `}${messageOf(error)}`;
    return [{ name, state: 'FAIL', detail }];
  }
}

/** @param version e.g. `24.21.0` */
export function checkNode(version: string): Check {
  const text = readFileSync(join(packageFolder(), 'package.json'), 'utf8');
  // Written by us: `>=22.19`.
  const { engines } = JSON.parse(text) as { readonly engines: { readonly node: string } };
  const wanted = engines.node.replace('>=', '');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [majorMin = 0, minorMin = 0] = wanted.split('.').map(Number);
  const isNewEnough = major > majorMin || (major === majorMin && minor >= minorMin);
  const detail = `Node.js ${version}`;
  if (isNewEnough) return { name: 'node', state: 'ok', detail };
  return { name: 'node', state: 'FAIL', detail, advice: `install ${wanted} or newer` };
}

async function checkResources(
  { resources, hasSampleFunctions }: Settings,
  { cwd, clock }: { cwd: string; clock: Clock },
): Promise<readonly Check[]> {
  const name = 'resources';
  const { lines, errorCount, warningCount } = await validate({ path: resources, cwd, clock });
  const summary = lines.at(-1) ?? '';
  const advice = `knear validate ${resources} tells which`;
  if (errorCount > 0) return [{ name, state: 'FAIL', detail: summary, advice }];
  if (warningCount > 0) return [{ name, state: 'warn', detail: summary, advice }];
  const which = hasSampleFunctions ? ' (the shipped samples: none were named)' : '';
  return [{ name, state: 'ok', detail: `${summary}${which}` }];
}

/** Nothing where the log is the embedded one. */
async function checkLogServer(settings: Settings, clock: Clock): Promise<readonly Check[]> {
  const { nats } = settings;
  if (nats === undefined) return [];
  // Its client is loaded for those who use it.
  const { checkNats } = await import('./doctor-nats.ts');
  return checkNats(settings, nats, clock);
}

/**
 * A connection each for as many requests as the door serves at a time, and as many for subscribers; 1,000 for what else
 * a process has open.
 */
const OPEN_FILES_WANTED = 2 * INGRESS_LIMITS.requestsMax + 1_000;
/** What some dozens of producers and subscribers take, and the log and the libraries before them. */
const OPEN_FILES_NEEDED = 256;

/** @param limit of this process; `undefined` where the system has none. */
export function checkOpenFiles(limit: number | undefined): Check {
  const name = 'open files';
  if (limit === undefined) return { name, state: 'ok', detail: 'no limit is known' };
  const detail = `at most ${limit}`;
  if (limit >= OPEN_FILES_WANTED) return { name, state: 'ok', detail };
  const advice = `many connections at a time need ${OPEN_FILES_WANTED}; raise it (ulimit -n, LimitNOFILE=)`;
  return { name, state: limit < OPEN_FILES_NEEDED ? 'FAIL' : 'warn', detail, advice };
}

/** Node itself has raised the soft limit to the hard one; what is left is the limit that serve will have, too. */
function openFilesMax(): number | undefined {
  // Else it resolves the names of all peers, which can take seconds.
  Object.assign(process.report, { excludeNetwork: true });
  // As Node.js documents the report; the section is missing on Windows.
  const { userLimits } = process.report.getReport() as {
    readonly userLimits?: { readonly open_files?: { readonly soft: number | 'unlimited' } };
  };
  const soft = userLimits?.open_files?.soft;
  return typeof soft === 'number' ? soft : undefined;
}

/** Long enough that a clock which is being set by a tenth of its speed is seen over what the system rounds. */
const CLOCK_WATCHED_MS = 500;
const CLOCK_DRIFT_MAX_MS = 25;

/**
 * Whether the wall clock runs as time does, and is not before the program was made. Whether it is right nobody on this
 * machine can tell, so it is not said.
 */
async function checkClock({ clock, pause }: DoctorOptions): Promise<Check> {
  const name = 'clock';
  const wallMs = clock.nowMs();
  const startMs = clock.monotonicMs();
  await pause(CLOCK_WATCHED_MS);
  const driftMs = clock.nowMs() - wallMs - (clock.monotonicMs() - startMs);
  const now = new Date(clock.nowMs()).toISOString();
  if (clock.nowMs() < MADE_AT_MS) {
    const advice = 'set it, and have it synchronised (NTP)';
    return { name, state: 'FAIL', detail: `${now} is before this program was made`, advice };
  }
  if (Math.abs(driftMs) > CLOCK_DRIFT_MAX_MS) {
    const detail = `moved by ${Math.round(driftMs)} ms against the time that passed`;
    const advice = 'somebody sets it; times of events and ages in metrics jump with it';
    return { name, state: 'warn', detail, advice };
  }
  return { name, state: 'ok', detail: `runs evenly; it says ${now}` };
}

/** The year of the first version. */
const MADE_AT_MS = Date.UTC(2026, 0, 1);
