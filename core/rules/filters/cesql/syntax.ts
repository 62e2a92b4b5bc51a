/**
 * What a CESQL expression is once it is read: a tree, data only. Parentheses are gone, `NOT LIKE` and `NOT IN` are a NOT
 * around the other, `<>` is `!=`, names are in the case that lookups want.
 * Source: CloudEvents SQL Expression Language 1.0.0, section 2 "Language syntax".
 */

/** A text, an integer of 32 bits, or a boolean: the types of the language are those of attributes. */
export type Value = string | number | boolean;

export type LogicOperator = 'AND' | 'OR' | 'XOR';
export type OrderOperator = '<' | '<=' | '>' | '>=';
export type MathOperator = '+' | '-' | '*' | '/' | '%';
export type BinaryOperator = LogicOperator | OrderOperator | MathOperator | '=' | '!=';

export type Node =
  | { readonly kind: 'literal'; readonly value: Value }
  | { readonly kind: 'attribute'; readonly name: string }
  | { readonly kind: 'exists'; readonly name: string }
  | { readonly kind: 'unary'; readonly operator: 'NOT' | '-'; readonly operand: Node }
  | {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly left: Node;
      readonly right: Node;
    }
  | { readonly kind: 'like'; readonly operand: Node; readonly pattern: string }
  | { readonly kind: 'in'; readonly operand: Node; readonly elements: readonly Node[] }
  | Call;

/** Whether there is such a function is not known here. */
export interface Call {
  readonly kind: 'call';
  /** Upper case. */
  readonly name: string;
  readonly args: readonly Node[];
  /** Of the name in the expression, from 0. */
  readonly offset: number;
}

/** Why a text is no expression. Thrown and caught in this folder only; outside it is a `CesqlFault`. */
export class SyntaxFault extends Error {
  /** Where, from 0. */
  readonly offset: number;
  /** The word in question, if another word may have been meant, and the words that could stand there. */
  readonly misspelt: Misspelt | undefined;

  constructor(offset: number, problem: string, misspelt?: Misspelt) {
    super(problem);
    this.offset = offset;
    this.misspelt = misspelt;
  }
}

export interface Misspelt {
  readonly word: string;
  readonly known: readonly string[];
}
