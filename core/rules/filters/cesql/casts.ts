/**
 * Values of one type as values of another. `undefined` is a cast that fails; what it means is up to the caller.
 * Source: CloudEvents SQL Expression Language 1.0.0, section 3.7 "Type casting".
 */
import type { Value } from './syntax.ts';

const INTEGER_MIN = -2_147_483_648;
const INTEGER_MAX = 2_147_483_647;
const DIGIT_ZERO = 48;

export function textOf(value: Value): string {
  return typeof value === 'string' ? value : String(value);
}

/** Decimal digits with or without a sign, in 32 bits. Takes no more time than the text has letters, nor any memory. */
export function integerOf(value: Value): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  const isSigned = value.startsWith('-') || value.startsWith('+');
  let at = isSigned ? 1 : 0;
  if (at === value.length) return undefined;
  let amount = 0;
  for (; at < value.length; at++) {
    const digit = value.charCodeAt(at) - DIGIT_ZERO;
    if (digit < 0 || digit > 9) return undefined;
    // Digits that get lost here, or infinity in the end, are far out of range.
    amount = amount * 10 + digit;
  }
  return inRange(value.startsWith('-') ? -amount : amount);
}

export function booleanOf(value: Value): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return value !== 0;
  // The length first: most texts are neither, and need no lower-case copy to show it.
  if (value.length === 4 && value.toLowerCase() === 'true') return true;
  return value.length === 5 && value.toLowerCase() === 'false' ? false : undefined;
}

/** The number if it is an integer of 32 bits; never -0. */
export function inRange(value: number): number | undefined {
  return value >= INTEGER_MIN && value <= INTEGER_MAX ? value | 0 : undefined;
}
