/**
 * Goal: what CONVENTIONS.md says about structure stays true without anybody looking. Method: the compiler's parser reads all
 * sources, and the rules of test/tidy/rules.ts judge them; each rule is also shown a planted mistake, so that it is known
 * to fail. An exception stands here, with its reason.
 */
import { describe, expect, test } from '@jest/globals';

import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  coreDoesNoIo,
  importRule,
  invariantsAreTested,
  invariantsAreUnique,
  nameRule,
  noCycles,
  noDeadExports,
  noDeadFiles,
  noModuleState,
  noStrayRemovals,
  noTimeOrChance,
  noWaivers,
  numbersAreDefined,
  packageRule,
  sizeRule,
  type Rule,
} from './tidy/rules.ts';
import { parseSource, ROOT, sourceFiles } from './tidy/source-files.ts';

const product = sourceFiles(['core', 'broker', 'dispatcher', 'controller', 'main']);
const bench = sourceFiles(['bench']);
const tests = sourceFiles(['test']);
/** This file and the rules name what they forbid. */
const judged = tests.filter(({ path: file }) => !file.startsWith('test/tidy'));
const everything = [...product, ...bench, ...tests];

/** Who may name which package. */
const PACKAGE_HOMES: Readonly<Record<string, readonly string[]>> = {
  '@nats-io/jetstream': ['broker/log/jetstream/', 'controller/feed/'],
  '@nats-io/kv': ['controller/feed/'],
  '@nats-io/transport-node': ['broker/log/jetstream/', 'controller/feed/'],
  '@opentelemetry/api': ['main/observe/tracing.ts'],
  '@opentelemetry/exporter-trace-otlp-http': ['main/observe/tracing-export.ts'],
  '@opentelemetry/resources': ['main/observe/tracing.ts'],
  '@opentelemetry/sdk-trace-base': ['main/observe/tracing.ts', 'main/observe/tracing-export.ts'],
  ajv: ['controller/source/'],
  cloudevents: ['main/sample-functions.ts'],
  commander: ['main/commands/', 'main/knear.ts'],
  fastify: ['broker/server.ts', 'main/admin.ts'],
  lmdb: ['broker/log/lmdb.ts'],
  'lru-cache': [
    'broker/log/records.ts',
    'broker/log/jetstream/contents.ts',
    'broker/payload/cache.ts',
  ],
  // Its type goes wherever a logger is passed.
  pino: ['broker/ingress.ts', 'main/'],
  'prom-client': ['main/observe/prometheus.ts'],
  tinyduration: ['controller/delivery.ts', 'main/setting-values.ts'],
  undici: ['dispatcher/deliver/'],
  yaml: ['controller/source/', 'main/client/get.ts', 'main/settings.ts'],
};

const ENTRIES = [
  'main/knear.ts',
  // The simplest store there is: for tests, the simulator, and whoever writes another one.
  'broker/log/memory.ts',
  // The same for payloads.
  'broker/payload/memory-store.ts',
];

/** The start of a finding, without its line: why it may be. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  'main/time.ts: ': 'the home of real time and chance',
  'main/sample-functions.ts: new Date()': 'a subscriber, written as any is; no simulation runs it',
  'broker/log/lmdb.ts: randomBytes': 'a name that no other log has',
  'broker/log/owner-lock.ts: randomBytes': 'a name that no other process can have taken',
  'broker/payload/payloads.ts: randomBytes': 'names that nobody can guess, and none twice',
  'main/knear.ts: nobody imports main': 'main/knear.js does, which is no TypeScript',
};

const RULES: readonly {
  readonly name: string;
  readonly rule: Rule;
  readonly files: typeof product;
}[] = [
  {
    name: 'core knows nobody, a role knows core and itself, main knows all',
    rule: importRule,
    files: product,
  },
  { name: 'core reaches nothing outside of the process', rule: coreDoesNoIo, files: product },
  {
    name: 'a package is named by its adapter only',
    rule: packageRule(PACKAGE_HOMES),
    files: product,
  },
  { name: 'no file needs itself', rule: noCycles, files: everything },
  { name: 'files and functions have a readable size', rule: sizeRule, files: product },
  {
    name: 'no check is switched off, and nothing is left for later',
    rule: noWaivers,
    files: [...product, ...bench, ...judged],
  },
  { name: 'time and chance come from their port', rule: noTimeOrChance, files: product },
  { name: 'modules have no state', rule: noModuleState, files: [...product, ...bench] },
  { name: 'names say something', rule: nameRule, files: everything },
  { name: 'every file is needed', rule: noDeadFiles(ENTRIES), files: product },
  { name: 'every export is imported', rule: noDeadExports(everything), files: everything },
  {
    name: 'every numbered invariant is named by a test',
    rule: invariantsAreTested(judged),
    files: product,
  },
  {
    name: 'a number stands for one invariant',
    rule: invariantsAreUnique,
    files: [...product, ...judged],
  },
  {
    name: 'a number in a comment stands for an invariant',
    rule: numbersAreDefined,
    files: product,
  },
  {
    name: 'tests and benchmarks remove only folders that they have made',
    rule: noStrayRemovals,
    files: [...bench, ...judged],
  },
];

describe('the sources', () => {
  test.each(RULES)('$name', ({ rule, files }) => {
    expect(rule(files).filter((finding) => !isException(finding))).toEqual([]);
  });

  test('every dependency has a home and a user', () => {
    const text = readFileSync(path.join(ROOT, 'package.json'), 'utf8');
    // npm refuses a package.json in which this is not so.
    const { dependencies } = JSON.parse(text) as { dependencies: Record<string, string> };
    const used = new Set(product.flatMap(({ imports }) => imports.map(({ from }) => from)));
    const homes = Object.keys(PACKAGE_HOMES);
    expect(homes).toEqual(Object.keys(dependencies));
    expect(homes.filter((name) => !used.has(name))).toEqual([]);
  });

  test('every exception is needed', () => {
    const findings = RULES.flatMap(({ rule, files }) => rule(files)).map(withoutLine);
    const idle = Object.keys(EXCEPTIONS).filter(
      (exception) => !findings.some((finding) => finding.startsWith(exception)),
    );
    expect(idle).toEqual([]);
  });
});

/** One mistake for each rule, and what it says of it. */
const PLANTED: readonly {
  readonly rule: Rule;
  readonly file: string;
  readonly text: string;
  readonly finding: string;
}[] = [
  {
    rule: importRule,
    file: 'broker/a.ts',
    text: "import type { Slots } from '../dispatcher/slots.ts';",
    finding: 'broker/a.ts: broker must not know dispatcher/slots.ts',
  },
  {
    rule: importRule,
    file: 'core/a.ts',
    text: "const late = await import('../broker/accept.ts');",
    finding: 'core/a.ts: core must not know broker/accept.ts',
  },
  {
    rule: coreDoesNoIo,
    file: 'core/a.ts',
    text: "import { readFile } from 'node:fs/promises';",
    finding: 'core/a.ts: node:fs is not for core',
  },
  {
    rule: packageRule(PACKAGE_HOMES),
    file: 'dispatcher/a.ts',
    text: "import { open } from 'lmdb';",
    finding: 'dispatcher/a.ts: lmdb is not for this file',
  },
  {
    rule: noCycles,
    file: 'core/a.ts',
    text: "export { a } from './a.ts';",
    finding: 'core/a.ts -> core/a.ts',
  },
  {
    rule: sizeRule,
    file: 'core/a.ts',
    text: `${'\n'.repeat(450)}1;`,
    finding: 'core/a.ts: 451 lines',
  },
  {
    rule: sizeRule,
    file: 'core/a.ts',
    text: `const a = () => {${'\n'.repeat(80)}};`,
    finding: 'core/a.ts:1: a function of 81 lines',
  },
  { rule: noWaivers, file: 'core/a.ts', text: 'let a: any;', finding: 'core/a.ts:1: any' },
  { rule: noWaivers, file: 'core/a.ts', text: 'a!.b();', finding: 'core/a.ts:1: non-null !' },
  {
    rule: noWaivers,
    file: 'core/a.ts',
    text: '\n// @ts-ignore',
    finding: 'core/a.ts:2: // @ts-ignore',
  },
  {
    rule: noTimeOrChance,
    file: 'core/a.ts',
    text: 'setTimeout(a, Math.random());',
    finding: 'core/a.ts:1: Math.random',
  },
  {
    rule: noTimeOrChance,
    file: 'core/a.ts',
    text: 'const now = new Date();',
    finding: 'core/a.ts:1: new Date()',
  },
  {
    rule: noModuleState,
    file: 'core/a.ts',
    text: 'export let count = 0;',
    finding: 'core/a.ts:1: a variable of the module',
  },
  {
    rule: nameRule,
    file: 'core/a.ts',
    text: 'class SlotManager {}',
    finding: 'core/a.ts:1: SlotManager',
  },
  { rule: nameRule, file: 'core/string-utils.ts', text: '', finding: 'core/string-utils.ts' },
  { rule: noDeadFiles(ENTRIES), file: 'core/a.ts', text: '', finding: 'core/a.ts' },
  {
    rule: noDeadExports([]),
    file: 'core/a.ts',
    text: 'export const a = 1;',
    finding: 'core/a.ts: nobody imports a',
  },
  {
    rule: invariantsAreTested([]),
    file: 'core/a.ts',
    text: '/**\n * Takes care.\n *\n * - Z1 Nothing is lost.\n */',
    finding: 'core/a.ts: no test names Z1',
  },
  {
    rule: numbersAreDefined,
    file: 'core/a.ts',
    text: '/** Because of Z1. */',
    finding: 'core/a.ts: Z1 is explained nowhere',
  },
  {
    rule: noStrayRemovals,
    file: 'test/a.test.ts',
    text: 'let root = mkdtempSync("a");\nroot = packageFolder();\nrmSync(root, { recursive: true });',
    finding: 'test/a.test.ts:2: root is removed in this file',
  },
];

describe('the rules', () => {
  test.each(PLANTED)('find $finding', ({ rule, file, text, finding }) => {
    expect(rule([parseSource(file, text)])).toContain(finding);
  });

  test('find one number for two invariants', () => {
    const text = '/**\n * Z1 Nothing is lost.\n */';
    const files = [parseSource('broker/a.ts', text), parseSource('main/b.ts', text)];
    expect(invariantsAreUnique(files)).toEqual(['Z1 has a meaning in each of broker, main']);
  });
});

function isException(finding: string): boolean {
  const bare = withoutLine(finding);
  return Object.keys(EXCEPTIONS).some((exception) => bare.startsWith(exception));
}

/** `broker/a.ts:12: what` -> `broker/a.ts: what` */
function withoutLine(finding: string): string {
  return finding.replace(/^([^:]+):\d+/, '$1');
}
