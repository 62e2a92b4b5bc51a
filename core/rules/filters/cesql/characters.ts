/**
 * Texts counted and cut by Unicode characters, not by the units that JavaScript makes two of for some. Source:
 * CloudEvents SQL Expression Language 1.0.0, sections 3.1 "Type system" and 3.5.1 "Built-in String manipulation".
 */

export function characterCount(text: string): number {
  let count = 0;
  for (let unit = 0; unit < text.length; unit = next(text, unit)) count += 1;
  return count;
}

/** The first `count` characters, or all if there are no more. */
export function firstCharacters(text: string, count: number): string {
  return text.slice(0, unitOf(text, count));
}

/** The last `count` characters, or all if there are no more. */
export function lastCharacters(text: string, count: number): string {
  return text.slice(unitOf(text, Math.max(0, characterCount(text) - count)));
}

/**
 * From the character at `position` on, at most `count` of them. The first one is at 1, the last one at -1; at 0 there is
 * nothing. `undefined`: the position is outside of the text.
 */
export function charactersAt(text: string, position: number, count: number): string | undefined {
  const length = characterCount(text);
  if (Math.abs(position) > length) return undefined;
  // 0 counts as behind the last one, where there is nothing.
  const start = position > 0 ? position - 1 : length + position;
  return firstCharacters(text.slice(unitOf(text, start)), count);
}

/** Without the white space at both ends. What `trim` of JavaScript removes differs in U+0085 and U+FEFF. */
export function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isWhiteSpace(text.charCodeAt(start))) start += 1;
  while (end > start && isWhiteSpace(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** Source: Unicode Character Database, property White_Space. All of them are single units. */
function isWhiteSpace(unit: number): boolean {
  return (
    unit === 0x20 ||
    (unit >= 0x09 && unit <= 0x0d) ||
    unit === 0x85 ||
    unit === 0xa0 ||
    unit === 0x1680 ||
    (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 ||
    unit === 0x2029 ||
    unit === 0x202f ||
    unit === 0x205f ||
    unit === 0x3000
  );
}

/** Where the character with this index starts, or the end of the text. */
function unitOf(text: string, index: number): number {
  let unit = 0;
  for (let left = index; left > 0 && unit < text.length; left--) unit = next(text, unit);
  return unit;
}

function next(text: string, unit: number): number {
  return unit + ((text.codePointAt(unit) ?? 0) > 0xffff ? 2 : 1);
}
