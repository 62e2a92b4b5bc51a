/**
 * The sources as data, for the tests that judge them: each file with its syntax tree, and what it imports and exports.
 * The compiler's own parser reads them, so that a word in a comment or a string is never taken for code.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

export const ROOT = path.join(import.meta.dirname, '../..');

export interface SourceFile {
  /** From the root, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
  readonly imports: readonly Import[];
  readonly exports: readonly Export[];
}

export interface Import {
  /** A path from the root for files of ours, else the name of the package, without what is below it. */
  readonly from: string;
  readonly isOurs: boolean;
  /** Erased before the program runs. */
  readonly isType: boolean;
  /** `*`: all of them. */
  readonly names: readonly string[];
}

export interface Export {
  readonly name: string;
  /** An interface or a type: it may be exported because the signature of something else needs it. */
  readonly isType: boolean;
}

/** The TypeScript files below the folders. */
export function sourceFiles(folders: readonly string[]): SourceFile[] {
  return filesBelow(folders)
    .filter((file) => file.endsWith('.ts'))
    .map((file) => parseSource(file, readFileSync(path.join(ROOT, file), 'utf8')));
}

/** Paths from the root, in order. */
export function filesBelow(folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)))
      .toSorted(),
  );
}

export function parseSource(file: string, text: string): SourceFile {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  return { path: file, text, tree, imports: importsOf(file, tree), exports: exportsOf(tree) };
}

/** Every node of the tree, parents first. */
export function* nodesOf(node: ts.Node): Generator<ts.Node> {
  yield node;
  const children: ts.Node[] = [];
  ts.forEachChild(node, (child) => {
    children.push(child);
  });
  for (const child of children) yield* nodesOf(child);
}

/** `broker/ingress.ts:17`, as editors and terminals understand it. */
export function placeOf({ path: file, tree }: SourceFile, node: ts.Node): string {
  return `${file}:${lineOf(tree, node.getStart(tree))}`;
}

export function lineCountOf({ tree }: SourceFile, node: ts.Node): number {
  return lineOf(tree, node.getEnd()) - lineOf(tree, node.getStart(tree)) + 1;
}

function lineOf(tree: ts.SourceFile, position: number): number {
  return tree.getLineAndCharacterOfPosition(position).line + 1;
}

function importsOf(file: string, tree: ts.SourceFile): Import[] {
  return [...nodesOf(tree)].flatMap((node) => {
    const specifier = specifierOf(node);
    if (specifier === undefined) return [];
    const isOurs = specifier.startsWith('.');
    const from = isOurs
      ? path.posix.join(path.posix.dirname(file), specifier)
      : packageOf(specifier);
    return [{ from, isOurs, ...namesOf(node) }];
  });
}

/** Of `import`, `export ... from`, `import()` and `typeof import()`. */
function specifierOf(node: ts.Node): string | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    return textOf(node.moduleSpecifier);
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    return textOf(node.arguments[0]);
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    return textOf(node.argument.literal);
  }
  return undefined;
}

function textOf(node: ts.Node | undefined): string | undefined {
  return node !== undefined && ts.isStringLiteral(node) ? node.text : undefined;
}

/** `node:fs/promises` -> `node:fs`, `@jest/globals` stays. */
function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function namesOf(node: ts.Node): Pick<Import, 'isType' | 'names'> {
  if (ts.isImportDeclaration(node)) {
    const clause = node.importClause;
    if (clause === undefined) return { isType: false, names: [] };
    const { namedBindings } = clause;
    const isType = clause.phaseModifier === ts.SyntaxKind.TypeKeyword;
    if (namedBindings === undefined || !ts.isNamedImports(namedBindings)) {
      return { isType, names: ['*'] };
    }
    return bindingsOf(namedBindings.elements, isType);
  }
  if (ts.isExportDeclaration(node)) {
    return node.exportClause !== undefined && ts.isNamedExports(node.exportClause)
      ? bindingsOf(node.exportClause.elements, node.isTypeOnly)
      : { isType: node.isTypeOnly, names: ['*'] };
  }
  return { isType: ts.isImportTypeNode(node), names: ['*'] };
}

function bindingsOf(
  elements: readonly (ts.ImportSpecifier | ts.ExportSpecifier)[],
  isType: boolean,
): Pick<Import, 'isType' | 'names'> {
  return {
    isType: isType || (elements.length > 0 && elements.every((element) => element.isTypeOnly)),
    names: elements.map(({ name, propertyName }) => (propertyName ?? name).text),
  };
}

function exportsOf(tree: ts.SourceFile): Export[] {
  return tree.statements.flatMap((statement) => {
    const isExported =
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    return isExported ? declaredNames(statement) : [];
  });
}

/** What a statement at the top of a file declares. */
function declaredNames(statement: ts.Statement): Export[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => ({
      name: name.getText(),
      isType: false,
    }));
  }
  const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
  const isNamed = isType || ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement);
  return isNamed && statement.name ? [{ name: statement.name.text, isType }] : [];
}
