/** What a value of a setting is, once it is read: a number in the program's units, an absolute path, one of a few words. */
import { resolve } from 'node:path';
import { parse as parseDuration } from 'tinyduration';
import { CLAIM_STORE } from '../controller/claims.ts';
import { KnearError } from '../core/errors.ts';
import { parseSizeBytes } from '../core/size.ts';
import type { Vantage } from '../core/rules/nearness.ts';
import { rangeOf } from './setting-ranges.ts';
import {
  LOCAL_HOPS,
  LOG_LEVELS,
  NATS_DURABILITIES,
  SETTINGS,
  type LocalHop,
  type LogLevel,
  type NatsDurability,
  type NumberKind,
  type SettingName,
  type SettingRow,
} from './settings-table.ts';

/** A value as it was given, and what to call its origin in a message. */
export interface Value {
  readonly text: string;
  /** Flag, variable, or file and key; the setting's own name for a default. */
  readonly from: string;
  /** Where a relative folder or file starts. */
  readonly folder: string;
}

export type Values = Map<SettingName, Value>;

/** By a flag, a variable or the file. */
export function isGiven(name: SettingName, values: Values): boolean {
  const value = values.get(name);
  return value !== undefined && value.from !== name;
}

/** Absolute path of a folder or a file; `undefined`: there is none, and no default. */
export function pathOf(name: SettingName, values: Values): string | undefined {
  const value = values.get(name);
  if (value === undefined) return undefined;
  const { kind } = SETTINGS[name] as SettingRow;
  if (value.text === '') throw invalid(value.from, `must name a ${kind}`);
  return resolve(value.folder, value.text);
}

export function textOf(name: SettingName, values: Values): string {
  const { text, from } = values.get(name) ?? missing(name);
  if (!/^\S+$/.test(text)) throw invalid(from, 'must not be empty or contain spaces');
  return text;
}

export function urlOf(name: SettingName, values: Values): string | undefined {
  const value = values.get(name);
  if (value === undefined) return undefined;
  const url = URL.parse(value.text);
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw invalid(`${value.from} ${value.text}`, `must be ${rangeOf(name)}`);
  }
  return url.href;
}

export function levelOf(name: SettingName, values: Values): LogLevel {
  return wordOf(LOG_LEVELS, name, values);
}

export function durabilityOf(name: SettingName, values: Values): NatsDurability {
  return wordOf(NATS_DURABILITIES, name, values);
}

export function localHopOf(name: SettingName, values: Values): LocalHop {
  return wordOf(LOCAL_HOPS, name, values);
}

/** Several places, each as zone, node and perhaps pod. */
export function placesOf(name: SettingName, values: Values): Vantage[] {
  const { text, from } = values.get(name) ?? missing(name);
  return text.split(',').map((place) => {
    const [zone, node, pod, ...others] = place.trim().split('/');
    const isWhole = zone !== undefined && node !== undefined && others.length === 0;
    if (!isWhole || !/^[^\s/]+(\/[^\s/]+){1,2}$/.test(place.trim())) {
      throw invalid(`${from} ${text}`, `must be ${rangeOf(name)}`);
    }
    return { zone, node, ...(pod !== undefined && { pod }) };
  });
}

export function storeOf(name: SettingName, values: Values): typeof CLAIM_STORE {
  return wordOf([CLAIM_STORE], name, values);
}

export function flagValueOf(name: SettingName, values: Values): boolean {
  return wordOf(['true', 'false'], name, values) === 'true';
}

function wordOf<Word extends string>(
  words: readonly Word[],
  name: SettingName,
  values: Values,
): Word {
  const { text, from } = values.get(name) ?? missing(name);
  const word = words.find((candidate) => candidate === text);
  if (word === undefined) throw invalid(`${from} ${text}`, `must be ${rangeOf(name)}`);
  return word;
}

export function numberOf(name: SettingName, values: Values): number {
  const { text, from } = values.get(name) ?? missing(name);
  const { kind, min, max } = SETTINGS[name] as SettingRow;
  assertNumberKind(kind);
  const value = parseNumber(kind, text);
  const isInRange =
    value !== undefined &&
    (min === undefined || value >= (parseNumber(kind, min) ?? NaN)) &&
    (max === undefined || value <= (parseNumber(kind, max) ?? NaN));
  if (!isInRange) throw invalid(`${from} ${text}`, `must be ${rangeOf(name)}`);
  return value;
}

function parseNumber(kind: NumberKind, text: string): number | undefined {
  switch (kind) {
    case 'port':
    case 'count':
      return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
    case 'size':
      return parseSizeBytes(text);
    case 'share':
      return /^\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : undefined;
    case 'duration':
      return parseDurationMs(text);
  }
}

/** One part of a duration: `1.5H`, without sign or exponent. */
const part = (unit: string) => String.raw`(\d+(\.\d+)?${unit})?`;

/** Weeks to seconds. Years and months have no fixed length, so nobody should wait for one. */
const DURATION = new RegExp(
  `^P(?=.)${part('W')}${part('D')}(T(?=.)${part('H')}${part('M')}${part('S')})?$`,
);

function parseDurationMs(text: string): number | undefined {
  // The library takes signs, and whatever stands before or behind a duration; DURATION is the whole text and none.
  if (!DURATION.test(text)) return undefined;
  const { weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0 } = parseDuration(text);
  return Math.round(((((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000);
}

export function invalid(what: string, why: string, cause?: unknown): KnearError {
  return new KnearError('KNEAR_SETTING_INVALID', `${what} ${why}`, { cause });
}

export function missing(name: SettingName): never {
  throw new Error(`setting ${name} has no default`);
}

const NUMBER_KINDS: readonly string[] = ['port', 'count', 'size', 'duration', 'share'];

function assertNumberKind(kind: SettingRow['kind']): asserts kind is NumberKind {
  if (!NUMBER_KINDS.includes(kind)) throw new Error(`a ${kind} is not a number`);
}
