/**
 * Reads a CESQL expression into a tree: recursive descent, with one loop for all that stands behind or between operands.
 * What binds tighter comes first: functions; NOT and minus; LIKE; EXISTS; IN; * / %; + -; comparisons; AND OR XOR.
 *
 * AND, OR and XOR bind equally and group to the right, `a AND b OR c` is `a AND (b OR c)`, as in the grammar that
 * accompanies the specification and in the implementations made from it; the specification's text can also be read the
 * other way. NOT binds tighter than a comparison, `NOT a = b` is `(NOT a) = b`.
 *
 * Bounds: an expression has at most EXPRESSION_LENGTH_MAX characters and OPERATORS_MAX operators, parentheses and calls, so
 * that whoever walks the tree by recursion, this parser included, cannot exhaust the stack.
 *
 * Sources: CloudEvents SQL Expression Language 1.0.0, sections 2 "Language syntax" and 3.6 "Evaluation of the expression",
 * and the parser grammar beside them.
 */
import { integerOf } from './casts.ts';
import { KEYWORDS, tokensOf, type Token } from './lexer.ts';
import { SyntaxFault, type BinaryOperator, type Node } from './syntax.ts';

/**
 * The time that one event can take grows with the length of the expression times that of its longest attribute: with
 * 4,096 characters and 64 KiB the worst that we found is 0.1 s. It leaves room for 200 names of 20 letters in an IN; more
 * go into several entries of an `any`.
 */
export const EXPRESSION_LENGTH_MAX = 4_096;
/**
 * All of them may be in one another, and then 500 take an eighth of the stack, a fifth in the worst case. More than 250
 * comparisons joined by OR are rather an IN, whose values do not count.
 */
export const OPERATORS_MAX = 500;

/**
 * How tightly an operator holds what is to its left. LIKE and IN have nothing but a literal and a list to their right, so
 * which of them is the tighter one makes no difference.
 */
const BINDING = { logic: 1, comparison: 2, sum: 3, product: 4, membership: 5, unary: 6 } as const;

type BinaryRow = readonly [operator: BinaryOperator, binding: number];

const BINARY: ReadonlyMap<string, BinaryRow> = new Map<string, BinaryRow>([
  ['AND', ['AND', BINDING.logic]],
  ['OR', ['OR', BINDING.logic]],
  ['XOR', ['XOR', BINDING.logic]],
  ['=', ['=', BINDING.comparison]],
  ['!=', ['!=', BINDING.comparison]],
  ['<>', ['!=', BINDING.comparison]],
  ['<', ['<', BINDING.comparison]],
  ['<=', ['<=', BINDING.comparison]],
  ['>', ['>', BINDING.comparison]],
  ['>=', ['>=', BINDING.comparison]],
  ['+', ['+', BINDING.sum]],
  ['-', ['-', BINDING.sum]],
  ['*', ['*', BINDING.product]],
  ['/', ['/', BINDING.product]],
  ['%', ['%', BINDING.product]],
]);

/** The tree, or why there is none. */
export function parse(expression: string): Node | SyntaxFault {
  try {
    return read(expression);
  } catch (error) {
    if (error instanceof SyntaxFault) return error;
    throw error;
  }
}

function read(expression: string): Node {
  if (expression.length > EXPRESSION_LENGTH_MAX) {
    const problem = `an expression has at most ${EXPRESSION_LENGTH_MAX} characters, this one has ${expression.length}`;
    throw new SyntaxFault(EXPRESSION_LENGTH_MAX, problem);
  }
  return new Parser(tokensOf(expression)).parse();
}

/** What a token may be that is said to be expected. */
const OPERAND = 'a value, an attribute or a function was expected';
const OPERATOR = 'an operator or the end was expected';
const WORD_OPERATORS = ['AND', 'OR', 'XOR', 'LIKE', 'IN', 'NOT'];

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #operators = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  parse(): Node {
    const node = this.#expression(0);
    if (this.#token.kind !== 'end') throw this.#unexpected(OPERATOR);
    return node;
  }

  /** An operand and all that follows it and binds at least as tightly as `binding`. */
  #expression(binding: number): Node {
    let node = this.#operand();
    for (;;) {
      const next = this.#continued(node, binding);
      if (next === undefined) return node;
      node = next;
    }
  }

  /** Steps over an operator, a parenthesis or a call. */
  #stepOver(): void {
    this.#operators += 1;
    if (this.#operators > OPERATORS_MAX) {
      const problem = `more than ${OPERATORS_MAX} operators, parentheses and calls`;
      throw new SyntaxFault(this.#token.offset, problem);
    }
    this.#at += 1;
  }

  /** The operator here with `left` as its operand; `undefined` if there is none that binds so tightly. */
  #continued(left: Node, binding: number): Node | undefined {
    const { kind, text } = this.#token;
    if (kind === 'keyword' && (text === 'LIKE' || text === 'IN' || text === 'NOT')) {
      return this.#membership(left, binding);
    }
    const row = kind === 'symbol' || kind === 'keyword' ? BINARY.get(text) : undefined;
    if (row === undefined) return undefined;
    const [operator, tightness] = row;
    if (tightness < binding) return undefined;
    this.#stepOver();
    // Another one of the same kind goes to the right operand if the kind groups to the right, else round the loop.
    const right = this.#expression(tightness === BINDING.logic ? tightness : tightness + 1);
    return { kind: 'binary', operator, left, right };
  }

  /** LIKE or IN, with or without a NOT before it. */
  #membership(operand: Node, binding: number): Node | undefined {
    const isNegated = this.#token.text === 'NOT';
    const word = isNegated ? this.#tokens[this.#at + 1] : this.#token;
    const isLike = word?.kind === 'keyword' && word.text === 'LIKE';
    const isIn = word?.kind === 'keyword' && word.text === 'IN';
    if ((!isLike && !isIn) || BINDING.membership < binding) return undefined;
    if (isNegated) this.#at += 1;
    this.#stepOver();
    const node: Node = isLike
      ? { kind: 'like', operand, pattern: this.#pattern() }
      : { kind: 'in', operand, elements: this.#set() };
    return isNegated ? { kind: 'unary', operator: 'NOT', operand: node } : node;
  }

  #pattern(): string {
    const { kind, text } = this.#token;
    if (kind !== 'text') throw this.#unexpected('LIKE needs a pattern in quotes');
    this.#at += 1;
    return text;
  }

  #set(): Node[] {
    if (!this.#take('(')) throw this.#unexpected('IN needs a list in parentheses');
    if (this.#isAt(')')) throw this.#unexpected('the list of an IN has at least one value');
    return this.#list();
  }

  /** What stands between commas up to the closing parenthesis. */
  #list(): Node[] {
    const nodes: Node[] = [];
    do nodes.push(this.#expression(0));
    while (this.#take(','));
    this.#close();
    return nodes;
  }

  #close(): void {
    if (!this.#take(')'))
      throw this.#unexpected('an operator or a closing parenthesis was expected');
  }

  #operand(): Node {
    const { kind, text } = this.#token;
    switch (kind) {
      case 'text':
        this.#at += 1;
        return { kind: 'literal', value: text };
      case 'integer':
        return this.#integer('');
      case 'word':
        return this.#isNext('(') ? this.#call() : this.#attribute();
      case 'keyword':
        if (text === 'TRUE' || text === 'FALSE') return this.#boolean(text === 'TRUE');
        if (text === 'NOT') return this.#unary('NOT');
        if (text === 'EXISTS') return this.#exists();
        break;
      case 'symbol':
        if (text === '(') return this.#inner();
        if (text === '-' || text === '+') return this.#signed(text);
        break;
      case 'end':
        break;
    }
    throw this.#unexpected(OPERAND);
  }

  #inner(): Node {
    this.#stepOver();
    const node = this.#expression(0);
    this.#close();
    return node;
  }

  #unary(operator: 'NOT' | '-'): Node {
    this.#stepOver();
    return { kind: 'unary', operator, operand: this.#expression(BINDING.unary) };
  }

  #boolean(value: boolean): Node {
    this.#at += 1;
    return { kind: 'literal', value };
  }

  /** A sign right before digits is a part of the literal, else the minus of an operand; there is no such plus. */
  #signed(sign: '-' | '+'): Node {
    const next = this.#tokens[this.#at + 1];
    if (next?.kind === 'integer' && next.offset === this.#token.offset + 1) {
      this.#at += 1;
      return this.#integer(sign);
    }
    if (sign === '+') throw this.#unexpected(OPERAND);
    return this.#unary('-');
  }

  #integer(sign: string): Node {
    const { text, offset } = this.#token;
    const value = integerOf(sign + text);
    if (value === undefined) {
      const problem = `${clipped(sign + text)} is out of range: an integer has 32 bits`;
      throw new SyntaxFault(offset - sign.length, problem);
    }
    this.#at += 1;
    return { kind: 'literal', value };
  }

  #exists(): Node {
    this.#stepOver();
    if (this.#token.kind !== 'word') {
      throw this.#unexpected('EXISTS needs the bare name of an attribute');
    }
    const { name } = this.#attribute();
    return { kind: 'exists', name };
  }

  /** Names are lower case in an event, and may be written in any case. */
  #attribute(): Node & { kind: 'attribute' } {
    const { text, offset } = this.#token;
    if (text.includes('_')) {
      const problem = `${clipped(text)} names no attribute: their names are letters and digits`;
      throw new SyntaxFault(offset, problem);
    }
    this.#at += 1;
    return { kind: 'attribute', name: text.toLowerCase() };
  }

  #call(): Node {
    const { text, offset } = this.#token;
    if (!/^[a-z][a-z_]*$/i.test(text)) {
      throw new SyntaxFault(
        offset,
        `${clipped(text)} is no function: their names are letters and _`,
      );
    }
    this.#at += 1;
    this.#stepOver();
    const args = this.#take(')') ? [] : this.#list();
    return { kind: 'call', name: text.toUpperCase(), args, offset };
  }

  get #token(): Token {
    // The last token is `end`, which nothing steps over.
    return this.#tokens[this.#at] ?? { kind: 'end', text: '', offset: 0 };
  }

  #isAt(symbol: string): boolean {
    return isSymbol(this.#token, symbol);
  }

  #isNext(symbol: string): boolean {
    return isSymbol(this.#tokens[this.#at + 1], symbol);
  }

  #take(symbol: string): boolean {
    const isThere = this.#isAt(symbol);
    if (isThere) this.#at += 1;
    return isThere;
  }

  #unexpected(expected: string): SyntaxFault {
    const token = this.#token;
    const before = this.#tokens[this.#at - 1];
    const found = token.kind === 'end' ? 'the end' : shown(token);
    const problem = `${expected}, not ${found}${hint(token, before)}`;
    // A word where an operator belongs is likely one.
    const isWord = token.kind === 'word' && expected !== OPERAND;
    return new SyntaxFault(
      token.offset,
      problem,
      isWord ? { word: token.text, known: WORD_OPERATORS } : undefined,
    );
  }
}

function isSymbol(token: Token | undefined, symbol: string): boolean {
  return token?.kind === 'symbol' && token.text === symbol;
}

function hint(token: Token, before: Token | undefined): string {
  if (token.text === '=' && before?.text === '=') return ': equality is a single =';
  if (token.kind === 'text' && before?.kind === 'text')
    return ': a quote inside a text is \\\' or \\"';
  if (token.kind === 'keyword' && KEYWORDS.includes(token.text)) return ', which is a keyword';
  return '';
}

function shown({ kind, text }: Token): string {
  return kind === 'text' ? `'${clipped(text)}'` : clipped(text);
}

/** Enough of a word to recognise it. */
function clipped(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}
