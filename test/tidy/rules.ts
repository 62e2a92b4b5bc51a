/**
 * The rules that sources of this repository keep. Each takes the files and gives what breaks it, as `place: what`;
 * `tidy.test.ts` runs them over the sources, and over a planted mistake each, to see that they can fail.
 */
import ts from 'typescript';

import { lineCountOf, nodesOf, placeOf, type SourceFile } from './source-files.ts';

export type Rule = (files: readonly SourceFile[]) => string[];

const ROLES = ['broker', 'dispatcher', 'controller'];

/** Layers: core knows nobody, a role knows core and itself, main knows all. */
export const importRule: Rule = (files) =>
  files.flatMap((file) => {
    const folder = folderOf(file.path);
    const allowed = ROLES.includes(folder) ? [folder, 'core'] : ['core'];
    if (folder === 'main') allowed.push(...ROLES, 'main');
    return file.imports
      .filter(({ from, isOurs }) => isOurs && !allowed.includes(folderOf(from)))
      .map(({ from }) => `${file.path}: ${folder} must not know ${from}`);
  });

/** What core may use of Node: bytes and assertions, nothing that reaches outside of the process. */
const PURE_BUILTINS = ['node:buffer', 'node:assert'];
/**
 * And of modules that can do more: to cipher bytes is to calculate, while the same module also draws lots; a stream is a
 * value that somebody else has opened.
 */
const PURE_NAMES: Readonly<Record<string, readonly string[]>> = {
  'node:crypto': ['createCipheriv', 'createSecretKey', 'timingSafeEqual', 'KeyObject'],
  'node:stream': ['Readable'],
};

export const coreDoesNoIo: Rule = (files) =>
  files
    .filter(({ path }) => folderOf(path) === 'core')
    .flatMap((file) =>
      file.imports
        .filter(({ from, isOurs, names }) => !isOurs && !isPure(from, names))
        .map(({ from }) => `${file.path}: ${from} is not for core`),
    );

function isPure(from: string, names: readonly string[]): boolean {
  if (PURE_BUILTINS.includes(from)) return true;
  // Nothing named: all of the module is there, and runs.
  return names.length > 0 && names.every((name) => PURE_NAMES[from]?.includes(name));
}

/** Who may name a package: whoever replaces it changes these files and no others. */
export const packageRule =
  (homes: Readonly<Record<string, readonly string[]>>): Rule =>
  (files) =>
    files.flatMap((file) =>
      file.imports
        .filter(({ from, isOurs }) => !isOurs && !from.startsWith('node:'))
        .filter(({ from }) => !homes[from]?.some((home) => file.path.startsWith(home)))
        .map(({ from }) => `${file.path}: ${from} is not for this file`),
    );

/** Files that need each other when the program runs. Types may: they are gone by then. */
export const noCycles: Rule = (files) => {
  const needs = new Map(
    files.map(({ path, imports }) => [
      path,
      imports.filter(({ isOurs, isType }) => isOurs && !isType).map(({ from }) => from),
    ]),
  );
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): string[] => {
    if (way.includes(file)) return [[...way.slice(way.indexOf(file)), file].join(' -> ')];
    if (done.has(file)) return [];
    const found = (needs.get(file) ?? []).flatMap((next) => visit(next, [...way, file]));
    done.add(file);
    return found;
  };
  return [...needs.keys()].flatMap((file) => visit(file, []));
};

/** A file is about 150 lines, a function about 10; past these two, somebody should split it. */
const FILE_LINES_MAX = 450;
const FUNCTION_LINES_MAX = 80;

export const sizeRule: Rule = (files) =>
  files.flatMap((file) => {
    const lines = file.text.trimEnd().split('\n').length;
    return [
      ...(lines > FILE_LINES_MAX ? [`${file.path}: ${lines} lines`] : []),
      ...[...nodesOf(file.tree)]
        .filter((node) => ts.isFunctionLike(node))
        .map((node) => ({ place: placeOf(file, node), lines: lineCountOf(file, node) }))
        .filter((each) => each.lines > FUNCTION_LINES_MAX)
        .map((each) => `${each.place}: a function of ${each.lines} lines`),
    ];
  });

/** What switches a check off, or leaves it for later. */
const WAIVERS = [/@ts-(ignore|expect-error|nocheck)/, /(eslint|prettier)-(disable|ignore)/];
const PROMISES = /\b(TODO|FIXME|XXX)\b/;

export const noWaivers: Rule = (files) =>
  files.flatMap((file) => [
    ...[...nodesOf(file.tree)].flatMap((node) => {
      if (node.kind === ts.SyntaxKind.AnyKeyword) return [`${placeOf(file, node)}: any`];
      return ts.isNonNullExpression(node) ? [`${placeOf(file, node)}: non-null !`] : [];
    }),
    ...[...WAIVERS, PROMISES].flatMap((pattern) => matchingLines(file, pattern)),
  ]);

const TIME_AND_CHANCE: Readonly<Record<string, readonly string[]>> = {
  Date: ['now'],
  performance: ['now', 'timeOrigin'],
  Math: ['random'],
  AbortSignal: ['timeout'],
  process: ['hrtime'],
  crypto: ['randomUUID', 'getRandomValues'],
};
const TIMERS = ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'randomBytes'];

/** Whatever tells the time, waits for it, or draws lots: a Clock or a Random does that, so that a seed can. */
export const noTimeOrChance: Rule = (files) =>
  files.flatMap((file) => [
    ...file.imports
      .filter(({ from }) => from === 'node:timers')
      .map(({ from }) => `${file.path}: ${from}`),
    ...[...nodesOf(file.tree)]
      .filter((node) => isTimeOrChance(node))
      .map((node) => `${placeOf(file, node)}: ${node.getText(file.tree)}`),
  ]);

function isTimeOrChance(node: ts.Node): boolean {
  if (ts.isPropertyAccessExpression(node)) {
    return TIME_AND_CHANCE[node.expression.getText()]?.includes(node.name.text) ?? false;
  }
  if (ts.isNewExpression(node)) {
    return node.expression.getText() === 'Date' && (node.arguments ?? []).length === 0;
  }
  return (
    ts.isCallExpression(node) &&
    ts.isIdentifier(node.expression) &&
    TIMERS.includes(node.expression.text)
  );
}

export const noModuleState: Rule = (files) =>
  files.flatMap((file) =>
    file.tree.statements
      .filter((node) => ts.isVariableStatement(node))
      .filter(({ declarationList }) => (declarationList.flags & ts.NodeFlags.Const) === 0)
      .map((node) => `${placeOf(file, node)}: a variable of the module`),
  );

/** A name that says nothing hides that the split is wrong. */
const EMPTY_NAME = /(Manager|Helper|Utils?|Impl|Base)$|^Abstract[A-Z]/;
const EMPTY_FILE_NAME = /(^|-)(manager|helpers?|utils?|impl|base|common|misc)$/;

export const nameRule: Rule = (files) =>
  files.flatMap((file) => {
    const stem = file.path.replace(/^.*\//, '').replace(/\.ts$/, '');
    return [
      ...(EMPTY_FILE_NAME.test(stem) ? [file.path] : []),
      ...[...nodesOf(file.tree)]
        .filter((node) => ts.isIdentifier(node))
        .filter((node) => isDeclaredName(node) && EMPTY_NAME.test(node.text))
        .map((node) => `${placeOf(file, node)}: ${node.text}`),
    ];
  });

function isDeclaredName(node: ts.Identifier): boolean {
  const { parent } = node;
  return (
    (ts.isClassDeclaration(parent) ||
      ts.isInterfaceDeclaration(parent) ||
      ts.isTypeAliasDeclaration(parent) ||
      ts.isFunctionDeclaration(parent)) &&
    parent.name === node
  );
}

/** Files that nothing imports, directly or not, starting from the entries. */
export const noDeadFiles =
  (entries: readonly string[]): Rule =>
  (files) => {
    const byPath = new Map(files.map((file) => [file.path, file]));
    const alive = new Set<string>();
    const visit = (path: string): void => {
      if (alive.has(path)) return;
      alive.add(path);
      for (const { from } of byPath.get(path)?.imports ?? []) visit(from);
    };
    for (const entry of entries) visit(entry);
    return files.map(({ path }) => path).filter((path) => !alive.has(path));
  };

/**
 * Exports that no other file takes. Types are spared where the file itself uses them: a caller need not write down the
 * type of what it passes on.
 */
export const noDeadExports =
  (users: readonly SourceFile[]): Rule =>
  (files) => {
    const used = new Set(
      users.flatMap(({ imports }) =>
        imports.flatMap(({ from, names }) => names.map((name) => `${from} ${name}`)),
      ),
    );
    return files.flatMap((file) =>
      file.exports
        .filter(({ name }) => !used.has(`${file.path} ${name}`) && !used.has(`${file.path} *`))
        .filter(({ name, isType }) => !isType || mentionsOf(file, name) < 2)
        .map(({ name }) => `${file.path}: nobody imports ${name}`),
    );
  };

function mentionsOf({ tree }: SourceFile, name: string): number {
  return [...nodesOf(tree)].filter((node) => ts.isIdentifier(node) && node.text === name).length;
}

/** An invariant, numbered in the comment at the top of a file: `L2 A record has its position ...`. */
const INVARIANT = /^ \*\s+(?:- )?([A-Z]\d+) /gm;

/** Each invariant is named by a test that would fail without it. Numbers are looked for in whole test files. */
export const invariantsAreTested =
  (tests: readonly SourceFile[]): Rule =>
  (files) => {
    const told = new Set(tests.flatMap(({ text }) => text.match(/\b[A-Z]\d+\b/g) ?? []));
    return files.flatMap((file) =>
      invariantsOf(file)
        .filter((number) => !told.has(number))
        .map((number) => `${file.path}: no test names ${number}`),
    );
  };

/**
 * One number, one meaning: comments and tests refer to invariants by their number alone. Files of one folder may share a
 * number, when each of them keeps a part of the same promise.
 */
export const invariantsAreUnique: Rule = (files) => {
  const homes = new Map<string, Set<string>>();
  for (const file of files) {
    const folder = file.path.slice(0, file.path.lastIndexOf('/'));
    for (const number of invariantsOf(file)) {
      homes.set(number, (homes.get(number) ?? new Set()).add(folder));
    }
  }
  return [...homes]
    .filter(([, folders]) => folders.size > 1)
    .map(([number, folders]) => `${number} has a meaning in each of ${[...folders].join(', ')}`);
};

/** A number in a comment that no header explains sends the reader looking for nothing. */
export const numbersAreDefined: Rule = (files) => {
  const defined = new Set(files.flatMap((file) => invariantsOf(file)));
  return files.flatMap(({ path, text }) =>
    (text.match(/\/\*[\s\S]*?\*\/|\/\/.*/g) ?? [])
      .flatMap((comment) => comment.match(/\b[A-Z]\d{1,2}\b/g) ?? [])
      .filter((number) => !defined.has(number))
      .map((number) => `${path}: ${number} is explained nowhere`),
  );
};

function invariantsOf({ text }: SourceFile): string[] {
  const header = /\/\*\*[\s\S]*?\*\//.exec(text)?.[0] ?? '';
  return [...header.matchAll(INVARIANT)].map(([, number = '']) => number);
}

/** What is nobody's to remove, unless a part of it is made for that. */
const KEPT = /packageFolder|import\.meta|process\.cwd|\bROOT\b/;
const SCRATCH = /mkdtemp|tmpdir|\.cache\b/;

/**
 * A test removes only what it has made. One that removes a whole folder by a variable must never give that variable a
 * folder of the repository, not even for a moment: the clean-up of that moment takes the repository away.
 */
export const noStrayRemovals: Rule = (files) =>
  files.flatMap((file) => {
    const nodes = [...nodesOf(file.tree)];
    return nodes.flatMap((node) => {
      const removed = removedTree(node);
      if (removed === undefined) return [];
      return valuesOf(removed, nodes)
        .filter((value) => KEPT.test(value.getText()) && !SCRATCH.test(value.getText()))
        .map((value) => `${placeOf(file, value)}: ${removed} is removed in this file`);
    });
  });

/** The variable, or the place when there is none, that a call removes with all that is in it. */
function removedTree(node: ts.Node): string | undefined {
  if (!ts.isCallExpression(node) || !/^(\w+\.)*(rm|rmSync)$/.test(node.expression.getText())) {
    return undefined;
  }
  const [target, options] = node.arguments;
  return options?.getText().includes('recursive') ? target?.getText() : undefined;
}

function valuesOf(name: string, nodes: readonly ts.Node[]): ts.Node[] {
  return nodes.flatMap((node) => {
    if (ts.isVariableDeclaration(node) && node.name.getText() === name) {
      return node.initializer ?? [];
    }
    const isAssignment =
      ts.isBinaryExpression(node) &&
      node.operatorToken.kind === ts.SyntaxKind.EqualsToken &&
      node.left.getText() === name;
    return isAssignment ? node.right : [];
  });
}

function matchingLines({ path, text }: SourceFile, pattern: RegExp): string[] {
  return text
    .split('\n')
    .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : []));
}

function folderOf(path: string): string {
  return path.slice(0, path.indexOf('/'));
}
