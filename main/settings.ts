/**
 * What the program runs with, put together from flags, environment, settings file and defaults, in this order of
 * precedence. What settings there are says settings-table.ts.
 *
 * What nobody knows is an error, not ignored: a misspelt bound that silently stays at its default is found when it is
 * needed.
 */
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parse as parseYaml, YAMLParseError } from 'yaml';
import { contradictionIn, settingOf, type CLAIM_STORE } from '../controller/claims.ts';
import { closest } from '../controller/suggest.ts';
import { KnearError, messageOf } from '../core/errors.ts';
import type { Role } from '../core/ports/topology-feed.ts';
import type { Vantage } from '../core/rules/nearness.ts';
import { natsOf, type NatsSettings } from './nats-settings.ts';
import {
  flagValueOf,
  invalid,
  isGiven,
  levelOf,
  missing,
  numberOf,
  pathOf,
  storeOf,
  textOf,
  localHopOf,
  placesOf,
  urlOf,
  type Value,
  type Values,
} from './setting-values.ts';
import {
  flagOf,
  SETTING_NAMES,
  SETTINGS,
  variableOf,
  type LogLevel,
  type SettingName,
  type SettingRow,
} from './settings-table.ts';

/** Absolute folders, bytes, milliseconds. */
export interface Settings {
  readonly resources: string;
  /** The shipped samples run, with the functions that they call: they were named, or no resources were. */
  readonly hasSampleFunctions: boolean;
  readonly data: string;
  readonly host: string;
  readonly port: number;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly logLevel: LogLevel;
  readonly logSizeMaxBytes: number;
  readonly logReserveBytes: number;
  /** Absent: the log is the embedded one. */
  readonly nats?: NatsSettings;
  readonly eventMaxBytes: number;
  readonly attributesMaxBytes: number;
  readonly claimCheckStore: typeof CLAIM_STORE;
  /** Absent: below `data`. */
  readonly claimCheckFolder?: string;
  readonly claimCheckInlineMaxBytes: number;
  /** Absent: as large as an event may be. */
  readonly claimCheckReplyMaxBytes?: number;
  readonly claimCheckBatchMaxBytes: number;
  /** Absent: as much as the store takes. */
  readonly claimCheckQuotaBytes?: number;
  readonly claimCheckUploadsMax: number;
  readonly claimCheckSpoolMaxBytes: number;
  readonly claimCheckFreeMinBytes: number;
  readonly claimCheckUploadIdleMs: number;
  /** A second. */
  readonly claimCheckUploadRateMinBytes: number;
  readonly claimCheckUploadMaxMs: number;
  readonly claimCheckDeliverIdleMs: number;
  readonly claimCheckCacheMaxBytes: number;
  readonly claimCheckCollectIntervalMs: number;
  readonly claimCheckDryRun: boolean;
  readonly backoffMaxMs: number;
  readonly deliverTimeoutMs: number;
  readonly drainMs: number;
  readonly openDeliveriesMax: number;
  readonly openBytesMax: number;
  readonly slotsMax: number;
  /** Where it is: one place, or several that are tried out on one machine. */
  readonly vantages: readonly Vantage[];
  /** Whether events may go on without the log, where no annotation says so. */
  readonly isHopping: boolean;
  readonly parkedMax: number;
  readonly parkedBytesMax: number;
  readonly parkedAgeMs: number;
  readonly goneAfterMs: number;
  readonly explainEvents: number;
  /** Absent: no spans are recorded. */
  readonly tracingEndpoint?: string;
  /** From 0 to 1. */
  readonly tracingSampling: number;
}

export interface SettingSources {
  /** Flags that were given, by setting name; `settings` is the file. */
  readonly flags?: Readonly<Partial<Record<SettingName | 'settings', string>>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where relative folders of flags, variables and defaults start. Those in the file start where the file is. */
  readonly cwd: string;
  /** What they are for; absent: `serve`. */
  readonly role?: Role;
}

/**
 * Puts together the settings from flags, environment and settings file.
 * @throws KNEAR_SETTING_UNKNOWN, with the nearest name there is; KNEAR_SETTING_INVALID, with where the value came from.
 */
export async function readSettings({
  flags = {},
  env = {},
  cwd,
  role = 'serve',
}: SettingSources): Promise<Settings> {
  refuseUnknownVariables(env);
  const path = flags.settings ?? given(env, 'KNEAR_SETTINGS');
  const file = path === undefined ? {} : await readSettingsFile(resolve(cwd, path));
  const values: Values = new Map();
  for (const name of SETTING_NAMES) {
    const value = fromFlag(flags, name, cwd) ?? fromVariable(env, name, cwd) ?? file[name];
    const fallback = (SETTINGS[name] as SettingRow).default;
    if (value !== undefined) values.set(name, value);
    else if (fallback !== undefined) values.set(name, { text: fallback, from: name, folder: cwd });
  }
  const settings = settingsOf(values);
  refuseContradictions(settings, { hasInlineMax: isGiven('claimCheckInlineMax', values) });
  refuseMissing(settings, { role, hasResources: isGiven('resources', values) });
  return settings;
}

/** The folder that holds package.json: the repository, or an installed release. */
export function packageFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no package.json above ${import.meta.dirname}`);
    folder = parent;
  }
  return folder;
}

export function packageVersion(): string {
  const text = readFileSync(join(packageFolder(), 'package.json'), 'utf8');
  // npm refuses a package.json without a version.
  return (JSON.parse(text) as { version: string }).version;
}

function fromFlag(
  flags: NonNullable<SettingSources['flags']>,
  name: SettingName,
  cwd: string,
): Value | undefined {
  const text = flags[name];
  return text === undefined ? undefined : { text, from: flagOf(name), folder: cwd };
}

function fromVariable(
  env: NonNullable<SettingSources['env']>,
  name: SettingName,
  cwd: string,
): Value | undefined {
  const text = given(env, variableOf(name));
  return text === undefined ? undefined : { text, from: variableOf(name), folder: cwd };
}

/** An empty variable is one that is not set: Compose files and shells cannot always leave one out. */
function given(env: NonNullable<SettingSources['env']>, name: string): string | undefined {
  const text = env[name];
  return text === undefined || text === '' || isServiceLink(name, text) ? undefined : text;
}

function refuseUnknownVariables(env: NonNullable<SettingSources['env']>): void {
  const known = ['KNEAR_SETTINGS', ...SETTING_NAMES.map(variableOf)];
  for (const [name, text = ''] of Object.entries(env)) {
    if (!name.startsWith('KNEAR_') || known.includes(name) || isServiceLink(name, text)) continue;
    throw unknown(`environment variable ${name}`, closest(name, known));
  }
}

/**
 * Kubernetes gives every pod variables for the Services around it: a Service called `knear` sets KNEAR_PORT to
 * `tcp://10.0.0.1:8080`. Those are not meant for us.
 * Source: Kubernetes documentation, "Service", section "Environment variables".
 */
function isServiceLink(name: string, text: string): boolean {
  return (
    /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name) ||
    (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(text))
  );
}

async function readSettingsFile(path: string): Promise<Partial<Record<SettingName, Value>>> {
  const document = parseSettingsFile(path, await readText(path));
  const values: Partial<Record<SettingName, Value>> = {};
  for (const [key, text] of Object.entries(document)) {
    if (!isSettingName(key)) throw unknown(`setting ${key} (${path})`, closest(key, SETTING_NAMES));
    if (typeof text !== 'string') throw invalid(`${path}: ${key}`, 'must be one value');
    values[key] = { text, from: `${path}: ${key}`, folder: dirname(path) };
  }
  return values;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw invalid('The settings file', `cannot be read: ${messageOf(error)}`, error);
  }
}

function parseSettingsFile(path: string, text: string): Record<string, unknown> {
  try {
    // `failsafe`: every value stays the text that was written, and goes the way of flags and variables.
    const document: unknown = parseYaml(text, { schema: 'failsafe', prettyErrors: true });
    if (document === null || document === '') return {};
    if (typeof document !== 'object' || Array.isArray(document)) {
      throw invalid(path, 'must be a YAML map of setting names to values');
    }
    // An object that is no list is a YAML map, whose keys are texts in this schema.
    return document as Record<string, unknown>;
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw error;
    throw invalid(path, `is not valid YAML: ${firstLine(error.message)}`, error);
  }
}

function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name);
}

function settingsOf(values: Values): Settings {
  const text = (name: SettingName) => textOf(name, values);
  const number = (name: SettingName) => numberOf(name, values);
  const folder = (name: SettingName) => pathOf(name, values);
  const nats = natsOf(values);
  const resources = folder('resources');
  const samples = join(packageFolder(), 'config/samples/quickstart');
  const tracingEndpoint = urlOf('tracingEndpoint', values);
  return {
    resources: resources ?? samples,
    hasSampleFunctions: resources === undefined || resources === samples,
    data: folder('data') ?? missing('data'),
    host: text('host'),
    port: number('port'),
    adminHost: text('adminHost'),
    adminPort: number('adminPort'),
    logLevel: levelOf('logLevel', values),
    logSizeMaxBytes: number('logSizeMax'),
    logReserveBytes: number('logReserve'),
    ...(nats && { nats }),
    eventMaxBytes: number('eventMax'),
    attributesMaxBytes: number('attributesMax'),
    ...claimCheckOf(values),
    backoffMaxMs: number('backoffMax'),
    deliverTimeoutMs: number('deliverTimeout'),
    drainMs: number('drain'),
    openDeliveriesMax: number('openDeliveriesMax'),
    openBytesMax: number('openBytesMax'),
    slotsMax: number('slotsMax'),
    vantages: vantagesOf(values),
    isHopping: values.has('localHop')
      ? localHopOf('localHop', values) === 'chain'
      : nats !== undefined,
    parkedMax: number('parkedMax'),
    parkedBytesMax: number('parkedBytesMax'),
    parkedAgeMs: number('parkedAge'),
    goneAfterMs: number('goneAfter'),
    explainEvents: number('explainEvents'),
    ...(tracingEndpoint !== undefined && { tracingEndpoint }),
    tracingSampling: number('tracingSampling'),
  };
}

/** The places that this process stands for. */
function vantagesOf(values: Values): readonly Vantage[] {
  const names = ['pod', 'node', 'zone'] as const;
  const known = names.filter((name) => values.has(name));
  if (!values.has('places')) {
    return [Object.fromEntries(known.map((name) => [name, textOf(name, values)]))];
  }
  const [both] = known;
  if (both !== undefined) {
    const { from } = values.get(both) ?? missing(both);
    throw invalid(from, 'must not be given beside places: each of these says where it is');
  }
  return placesOf('places', values);
}

function claimCheckOf(values: Values) {
  const number = (name: SettingName) => numberOf(name, values);
  const claimCheckFolder = pathOf('claimCheckFolder', values);
  return {
    claimCheckStore: storeOf('claimCheckStore', values),
    ...(claimCheckFolder !== undefined && { claimCheckFolder }),
    claimCheckInlineMaxBytes: number('claimCheckInlineMax'),
    ...(values.has('claimCheckReplyMax') && {
      claimCheckReplyMaxBytes: number('claimCheckReplyMax'),
    }),
    claimCheckBatchMaxBytes: number('claimCheckBatchMax'),
    ...(values.has('claimCheckQuota') && { claimCheckQuotaBytes: number('claimCheckQuota') }),
    claimCheckUploadsMax: number('claimCheckUploadsMax'),
    claimCheckSpoolMaxBytes: number('claimCheckSpoolMax'),
    claimCheckFreeMinBytes: number('claimCheckFreeMin'),
    claimCheckUploadIdleMs: number('claimCheckUploadIdle'),
    claimCheckUploadRateMinBytes: number('claimCheckUploadRateMin'),
    claimCheckUploadMaxMs: number('claimCheckUploadMax'),
    claimCheckDeliverIdleMs: number('claimCheckDeliverIdle'),
    claimCheckCacheMaxBytes: number('claimCheckCacheMax'),
    claimCheckCollectIntervalMs: number('claimCheckCollectInterval'),
    claimCheckDryRun: flagValueOf('claimCheckDryRun', values),
  };
}

/** What a role that shares its log with others cannot do without. */
function refuseMissing(
  { nats }: Settings,
  { role, hasResources }: { readonly role: Role; readonly hasResources: boolean },
): void {
  if (role === 'serve') return;
  if (!nats) throw invalid(flagOf('nats'), `is needed: knear ${role} shares its log with others`);
  if (role === 'controller' && !hasResources) {
    throw invalid(flagOf('resources'), 'is needed: the folder of the resources that it decides on');
  }
}

/** Values that are fine alone and wrong together. */
function refuseContradictions(
  settings: Settings,
  { hasInlineMax }: { readonly hasInlineMax: boolean },
): void {
  const { eventMaxBytes, claimCheckQuotaBytes: quota } = settings;
  const contradiction = contradictionIn({
    eventMax: eventMaxBytes,
    replyMax: settings.claimCheckReplyMaxBytes ?? eventMaxBytes,
    // Its default may be more than an event has: then all data is in the log.
    ...(hasInlineMax && { inlineMax: settings.claimCheckInlineMaxBytes }),
    ...(quota !== undefined && { quota }),
  });
  if (contradiction) {
    const { larger, smaller, why } = contradiction;
    const other = flagOf(settingOf(smaller.name));
    throw invalid(flagOf(settingOf(larger.name)), `must not be more than ${other}: ${why}`);
  }
  const isSamePlace = settings.host === settings.adminHost && settings.port === settings.adminPort;
  if (isSamePlace && settings.port !== 0) {
    throw invalid(flagOf('adminPort'), `must differ from ${flagOf('port')}`);
  }
}

function unknown(what: string, suggestion: string | undefined): KnearError {
  const hint = suggestion === undefined ? 'See knear --help.' : `Did you mean ${suggestion}?`;
  return new KnearError('KNEAR_SETTING_UNKNOWN', `There is no ${what}. ${hint}`);
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
