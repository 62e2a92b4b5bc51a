/**
 * What a valid event is, for both versions of the specification and both content modes.
 *
 * Lenient where the reference broker is, because producers were tested against that: a URI-reference may hold spaces
 * or characters beyond ASCII, and a name may be longer than 20 characters or in capitals. Percent signs in a URI are not
 * looked at, because the header of a sender that does not encode has lost one level of them (see `codec.ts`).
 * Sources: CloudEvents 1.0.2, "Context Attributes"; CloudEvents 0.3, "Context Attributes"; RFC 3986, 3339, 2045.
 */
import { KnearError } from './errors.ts';
import type { Attributes } from './event.ts';

/**
 * @throws KNEAR_EVENT_INVALID for the first attribute that is missing or wrong.
 */
export function requireValid(attributes: Attributes): void {
  const version = attributes.get('specversion');
  const rules = version === '1.0' ? RULES_1_0 : version === '0.3' ? RULES_0_3 : undefined;
  if (rules === undefined) throw invalidAttribute('specversion', version, 'send 1.0 or 0.3');
  for (const { name, isRequired, isValid, remedy } of rules) {
    const value = attributes.get(name);
    if (value === undefined && !isRequired) continue;
    if (typeof value !== 'string' || !isValid(value)) throw invalidAttribute(name, value, remedy);
  }
}

/**
 * The name of an attribute in the form we keep: lower case.
 * @throws KNEAR_EVENT_INVALID when it cannot be one.
 */
export function attributeName(name: string): string {
  if (!NAME.test(name)) {
    const remedy = 'use letters a to z and digits only';
    throw new KnearError('KNEAR_EVENT_INVALID', `attribute name ${quote(name)}: ${remedy}`);
  }
  const lowerCase = name.toLowerCase();
  if (lowerCase === 'data') {
    const remedy = 'the name is reserved for the data itself; use another';
    throw new KnearError('KNEAR_EVENT_INVALID', `attribute name ${quote(name)}: ${remedy}`);
  }
  return lowerCase;
}

/** Looked at before it is lower-cased, which makes ASCII of a few other letters, such as the Kelvin sign. */
const NAME = /^[A-Za-z0-9]+$/;

/** The media type without parameters, in lower case. */
export function mediaTypeOf(contentType: string): string {
  const end = contentType.indexOf(';');
  return (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}

interface Rule {
  readonly name: string;
  readonly isRequired: boolean;
  readonly isValid: (text: string) => boolean;
  /** What to send instead. */
  readonly remedy: string;
}

const REQUIRED: readonly Rule[] = [
  {
    name: 'id',
    isRequired: true,
    isValid: isFilled,
    remedy: 'send a text that is not blank and that the source never uses again',
  },
  {
    name: 'source',
    isRequired: true,
    isValid: (text) => isFilled(text) && isUriReference(text),
    remedy:
      'send a URI-reference that is not blank, such as /sensors/1 or https://example.com/shop',
  },
  {
    name: 'type',
    isRequired: true,
    isValid: isFilled,
    remedy: 'send a text that is not blank, such as com.example.order.created',
  },
];

const OPTIONAL: readonly Rule[] = [
  {
    name: 'subject',
    isRequired: false,
    isValid: isFilled,
    remedy: 'send a text that is not blank, or leave it out',
  },
  {
    name: 'time',
    isRequired: false,
    isValid: isTimestamp,
    remedy: 'send an RFC 3339 timestamp such as 2026-11-25T01:02:03.5Z, or leave it out',
  },
  {
    name: 'datacontenttype',
    isRequired: false,
    isValid: isMediaType,
    remedy: 'send a media type such as application/json as the content type, or leave it out',
  },
];

const RULES_1_0: readonly Rule[] = [
  ...REQUIRED,
  ...OPTIONAL,
  {
    name: 'dataschema',
    isRequired: false,
    isValid: isAbsoluteUri,
    remedy: 'send an absolute URI such as https://example.com/schema, or leave it out',
  },
];

const RULES_0_3: readonly Rule[] = [
  ...REQUIRED,
  ...OPTIONAL,
  {
    name: 'schemaurl',
    isRequired: false,
    isValid: (text) => isFilled(text) && isUriReference(text),
    remedy: 'send a URI-reference that is not blank, or leave it out',
  },
  {
    name: 'datacontentencoding',
    isRequired: false,
    isValid: (text) => text.toLowerCase() === 'base64',
    remedy: 'send base64, the only one that version 0.3 defines, or leave it out',
  },
];

function isFilled(text: string): boolean {
  return text.trim() !== '';
}

function isUriReference(text: string): boolean {
  return URI_REFERENCE.test(text);
}

/** With a scheme, that is. A fragment is let through, as the reference does. */
function isAbsoluteUri(text: string): boolean {
  return SCHEME.test(text) && URI_REFERENCE.test(text);
}

const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:/;

/**
 * A scheme, or no colon before the first `/`, `?` or `#`; then, after `//`, an authority with a host that holds no blank
 * and a port of digits; then anything but control characters. Linear: no two of its repetitions can share a character.
 */
const URI_REFERENCE =
  /^(?:[A-Za-z][A-Za-z0-9+.-]*:|(?![^/?#]*:))(?:\/\/(?:[^/?#]*@)?(?:\[[^\]/?#\s]*\]|[^/?#@:[\]\s]*)(?::[0-9]*)?(?=[/?#]|$)|(?!\/\/))[^\0-\x1f\x7f]*$/;

/** RFC 3339, section 5.6, leap seconds and lower-case letters included. */
function isTimestamp(text: string): boolean {
  const [, year, month, day] = TIMESTAMP.exec(text) ?? [];
  return day !== undefined && Number(day) <= daysIn(Number(year), Number(month));
}

const TIMESTAMP =
  /^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

function daysIn(year: number, month: number): number {
  if (month !== 2) return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
  const isLeapYear = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  return isLeapYear ? 29 : 28;
}

function isMediaType(text: string): boolean {
  // The one that nearly every event has.
  return text === 'application/json' || MEDIA_TYPE.test(text);
}

/**
 * RFC 2045, section 5.1: type, subtype, and parameters whose values are tokens or quoted strings. All ASCII, so it can
 * stand in a header as it is. A semicolon at the end is let through: many senders write one.
 */
const MEDIA_TYPE =
  /^[ \t]*[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+[ \t]*(?:;[ \t]*(?:[\w!#$%&'*+.^`|~-]+=(?:[\w!#$%&'*+.^`|~-]+|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*")[ \t]*)?)*$/;

function invalidAttribute(name: string, value: unknown, remedy: string): KnearError {
  const problem = value === undefined ? 'is missing' : `is ${quote(value)}`;
  return new KnearError('KNEAR_EVENT_INVALID', `${name} ${problem}: ${remedy}`);
}

/** A name or value for a message: as JSON, so that control characters in it cannot garble a log or a terminal. */
export function quote(value: unknown): string {
  if (typeof value !== 'string' || value.length <= QUOTED_MAX) return JSON.stringify(value);
  return `${JSON.stringify(value.slice(0, QUOTED_MAX))}...`;
}

/** Enough to recognise it; the whole could be as large as the body. */
const QUOTED_MAX = 80;
