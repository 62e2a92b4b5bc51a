/**
 * What the index may know about a CESQL expression: values of `type` or `source` of which an event must have one for the
 * expression to be true. Found are comparisons with texts and INs of texts, joined by AND and OR.
 */
import type { IndexedName } from '../dialect.ts';
import { booleanOf, integerOf } from './casts.ts';
import type { Node } from './syntax.ts';

/** Without repetitions. `undefined`: nothing is known. */
export function pinsOf(node: Node, name: IndexedName): readonly string[] | undefined {
  switch (node.kind) {
    case 'binary':
      if (node.operator === 'AND')
        return shorter(pinsOf(node.left, name), pinsOf(node.right, name));
      if (node.operator === 'OR') return union(pinsOf(node.left, name), pinsOf(node.right, name));
      if (node.operator !== '=') return undefined;
      return isAttribute(node.left, name)
        ? textsOf([node.right])
        : isAttribute(node.right, name)
          ? textsOf([node.left])
          : undefined;
    case 'in':
      return isAttribute(node.operand, name) ? textsOf(node.elements) : undefined;
    case 'literal':
    case 'attribute':
    case 'exists':
    case 'unary':
    case 'like':
    case 'call':
      return undefined;
  }
}

/** Both sides must be true: either promise holds for the whole. */
function shorter(
  left: readonly string[] | undefined,
  right: readonly string[] | undefined,
): readonly string[] | undefined {
  if (left === undefined || right === undefined) return left ?? right;
  return left.length <= right.length ? left : right;
}

/** One side must be true. */
function union(
  left: readonly string[] | undefined,
  right: readonly string[] | undefined,
): readonly string[] | undefined {
  return left && right && [...new Set([...left, ...right])];
}

function isAttribute(node: Node, name: IndexedName): boolean {
  return node.kind === 'attribute' && node.name === name;
}

/**
 * The texts, if all of them are literals that equal themselves only. A text that can be cast does not: if an attribute
 * were `true`, it would equal 'TRUE'. The index has no place for the empty text.
 */
function textsOf(nodes: readonly Node[]): readonly string[] | undefined {
  const texts = new Set<string>();
  for (const node of nodes) {
    if (node.kind !== 'literal' || typeof node.value !== 'string' || node.value === '') {
      return undefined;
    }
    if (integerOf(node.value) !== undefined || booleanOf(node.value) !== undefined)
      return undefined;
    texts.add(node.value);
  }
  return [...texts];
}
