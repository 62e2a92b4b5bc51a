/**
 * What is wrong with a CESQL expression before there is any event: it cannot be read, it calls what is not there, or its
 * result is never true or false. A person who writes a filter learns it here; at run time such a filter only fails.
 * Source: CloudEvents SQL Expression Language 1.0.0, sections 1.2 and 3.3: checks before the evaluation where possible.
 */
import { compileNode } from './compile.ts';
import { FUNCTION_NAMES, signatureOf, signaturesOf } from './functions.ts';
import { parse } from './parser.ts';
import { SyntaxFault, type Call, type Misspelt, type Node } from './syntax.ts';

export interface CesqlFault {
  /** Of the first character that cannot stay as it is, from 1. */
  readonly position: number;
  /** What is wrong, without a full stop. */
  readonly problem: string;
  /** A word of the expression for which another may have been meant, and those that would do. */
  readonly misspelt?: Misspelt;
}

/** The first thing that keeps the expression from being a filter; `undefined` if nothing does. */
export function cesqlFault(expression: string): CesqlFault | undefined {
  const node = parse(expression);
  if (node instanceof SyntaxFault) return faultOf(node);
  const call = strayCall(node);
  return call === undefined ? resultFault(node) : callFault(call);
}

function faultOf({ offset, message, misspelt }: SyntaxFault): CesqlFault {
  const fault = { position: offset + 1, problem: message };
  return misspelt === undefined ? fault : { ...fault, misspelt };
}

/** A call that no function answers. */
function strayCall(node: Node): Call | undefined {
  switch (node.kind) {
    case 'literal':
    case 'attribute':
    case 'exists':
      return undefined;
    case 'unary':
    case 'like':
      return strayCall(node.operand);
    case 'binary':
      return strayCall(node.left) ?? strayCall(node.right);
    case 'in':
      return strayCall(node.operand) ?? firstStrayCall(node.elements);
    case 'call':
      return signatureOf(node.name, node.args.length) ? firstStrayCall(node.args) : node;
  }
}

function firstStrayCall(nodes: readonly Node[]): Call | undefined {
  for (const node of nodes) {
    const call = strayCall(node);
    if (call !== undefined) return call;
  }
  return undefined;
}

function callFault({ name, args, offset }: Call): CesqlFault {
  const position = offset + 1;
  const signatures = signaturesOf(name);
  if (signatures === undefined) {
    const misspelt = { word: name, known: FUNCTION_NAMES };
    return { position, problem: `there is no function ${name}`, misspelt };
  }
  const counts = signatures.map(({ argsMin, argsMax }) =>
    argsMax === Infinity ? `at least ${argsMin}` : argsMin,
  );
  const unit = counts.at(-1) === 1 || counts.at(-1) === 'at least 1' ? 'argument' : 'arguments';
  return { position, problem: `${name} takes ${counts.join(' or ')} ${unit}, not ${args.length}` };
}

function resultFault(node: Node): CesqlFault | undefined {
  const { type } = compileNode(node, { correlationKeys: new Map() });
  if (type === 'any' || type === 'boolean') return undefined;
  const found = type === 'text' ? 'a text' : 'an integer';
  return { position: 1, problem: `the result is ${found}, and a filter needs true or false` };
}
