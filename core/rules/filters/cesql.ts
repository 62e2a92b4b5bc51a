/**
 * The dialect `cesql`: an expression in the CloudEvents SQL Expression Language. Only true passes; false, any other value
 * and any error fail, and an attribute that the event lacks is an error unless EXISTS asks for it.
 *
 * How an expression is read, compiled and checked is in `cesql/`. One that cannot be read is refused where resources are
 * validated; should it come here it passes nothing.
 * Sources: CloudEvents SQL Expression Language 1.0.0, section 1.2; Knative Eventing, pkg/eventfilter/subscriptionsapi.
 */
import { compileNode } from './cesql/compile.ts';
import { parse } from './cesql/parser.ts';
import { pinsOf } from './cesql/pins.ts';
import { SyntaxFault } from './cesql/syntax.ts';
import type { Dialect } from './dialect.ts';

export const cesql: Dialect<'cesql'> = {
  compile({ expression }, _child, context) {
    if (expression === '') return undefined;
    const node = parse(expression);
    if (node instanceof SyntaxFault) return () => 'fail';
    const { evaluate } = compileNode(node, context);
    return (event) => (evaluate(event) === true ? 'pass' : 'fail');
  },
  pins({ expression }, name) {
    // Reading an expression takes longer than seeing that the attribute is not in it.
    if (!expression.toLowerCase().includes(name)) return undefined;
    const node = parse(expression);
    return node instanceof SyntaxFault ? undefined : pinsOf(node, name);
  },
};
