/**
 * Cuts a CESQL expression into tokens. Keywords are found here; whether a word names an attribute or a function is for
 * the parser, which knows what follows. A sign is a token of its own, so that `a-1` is a subtraction.
 *
 * Sources: CloudEvents SQL Expression Language 1.0.0, section 2.2 "Value identifiers and literals", and the lexer grammar
 * beside it for what the section leaves open: a backslash in a text takes the character after it along. That grammar
 * also lets a quote be doubled inside a text, and then keeps both; the section does not, and here it is a fault.
 */
import { SyntaxFault } from './syntax.ts';

export interface Token {
  readonly kind: 'keyword' | 'word' | 'integer' | 'text' | 'symbol' | 'end';
  /** Keywords in upper case; texts without their quotes, and with those inside unescaped; else as written. */
  readonly text: string;
  /** Of its first character in the expression, from 0. */
  readonly offset: number;
}

export const KEYWORDS: readonly string[] = [
  ...['AND', 'OR', 'XOR', 'NOT'],
  ...['LIKE', 'EXISTS', 'IN', 'TRUE', 'FALSE'],
];

/** Space, a text, a word, a symbol, or one character that is none of these. Looks at each character once. */
const TOKEN =
  /[ \t\r\n]+|('[^'\\]*(?:\\[^][^'\\]*)*'|"[^"\\]*(?:\\[^][^"\\]*)*")|([a-zA-Z0-9_]+)|(<=|>=|<>|!=|[-+*/%=<>(),])|([^])/gu;

/** What people write who know another language. */
const HINTS: Readonly<Record<string, string>> = {
  '&': 'the operator is called AND',
  '|': 'the operator is called OR, and CONCAT joins texts',
  '!': 'the operator is called NOT',
  '.': 'texts are in quotes, names of attributes have no dots, and the data cannot be looked into',
  '`': 'names of attributes have no quotes',
};

/** Ends with one token of kind `end`. @throws SyntaxFault */
export function tokensOf(expression: string): Token[] {
  const tokens: Token[] = [];
  for (const match of expression.matchAll(TOKEN)) {
    // By number: with named groups it takes twice as long.
    const [, text, word, symbol, other] = match;
    const offset = match.index;
    if (text !== undefined) tokens.push({ kind: 'text', text: unquoted(text), offset });
    if (word !== undefined) tokens.push(wordToken(word, offset));
    if (symbol !== undefined) tokens.push({ kind: 'symbol', text: symbol, offset });
    if (other !== undefined) throw strange(other, offset);
  }
  tokens.push({ kind: 'end', text: '', offset: expression.length });
  return tokens;
}

/** Only its own quote is escaped in a text; a pattern of LIKE has escapes of its own. */
function unquoted(text: string): string {
  const quote = text.charAt(0);
  return text.slice(1, -1).replaceAll(`\\${quote}`, quote);
}

function wordToken(text: string, offset: number): Token {
  if (/^\d+$/.test(text)) return { kind: 'integer', text, offset };
  const keyword = text.toUpperCase();
  return KEYWORDS.includes(keyword)
    ? { kind: 'keyword', text: keyword, offset }
    : { kind: 'word', text, offset };
}

function strange(character: string, offset: number): SyntaxFault {
  if (character === "'" || character === '"') {
    return new SyntaxFault(offset, `the text that begins here has no closing ${character}`);
  }
  const hint = HINTS[character];
  // A control character or half of a pair would spoil the line that it is printed in.
  const shown = /^\P{C}$/u.test(character) ? character : JSON.stringify(character);
  return new SyntaxFault(
    offset,
    `${shown} has no meaning here${hint === undefined ? '' : `: ${hint}`}`,
  );
}
