/** One way to look at an expression for all tests of CESQL: text in, value out. */
import type { AttributeValue } from '../../../core/event.ts';
import { compileNode } from '../../../core/rules/filters/cesql/compile.ts';
import { parse } from '../../../core/rules/filters/cesql/parser.ts';
import { SyntaxFault, type Node, type Value } from '../../../core/rules/filters/cesql/syntax.ts';

export type Attributes = Readonly<Record<string, AttributeValue>>;

export const REQUIRED: Attributes = { specversion: '1.0', id: '1', source: '/', type: 't' };

/** @throws the fault of an expression that cannot be read. */
export function treeOf(expression: string): Node {
  const tree = parse(expression);
  if (tree instanceof SyntaxFault) throw tree;
  return tree;
}

/** Of an event with these attributes beside the required ones. `undefined` is an error. */
export function valueOf(expression: string, attributes: Attributes = {}): Value | undefined {
  const { evaluate } = compileNode(treeOf(expression), { correlationKeys: new Map() });
  const all = new Map(Object.entries({ ...REQUIRED, ...attributes }));
  return evaluate({ attributes: all, headers: new Map(), data: undefined });
}
