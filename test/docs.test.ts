/**
 * Goal: documents do not rot. Method: whatever a page names that can be looked up is looked up: error codes, paths, links,
 * scripts, flags, variables, metrics, annotations. What is only an example stands in a list here, with its reason.
 */
import { describe, expect, test } from '@jest/globals';

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ANNOTATIONS, CONFIG_LABEL } from '../controller/annotations.ts';
import { ERRORS } from '../core/errors.ts';
import { flagOf, SETTING_NAMES, variableOf } from '../main/settings-table.ts';
import { filesBelow, ROOT, sourceFiles } from './tidy/source-files.ts';

interface Page {
  readonly path: string;
  readonly text: string;
}

const pages: readonly Page[] = [
  'README.md',
  'ARCHITECTURE.md',
  'CONVENTIONS.md',
  'CHANGELOG.md',
  ...filesBelow(['docs']).filter((file) => file.endsWith('.md')),
].map((file) => ({ path: file, text: read(file) }));

/** Names that are looked up and need not be there. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  'dist/': 'made by npm run build',
  'bench/results/': 'made by npm run bench',
  kn_log: 'a subject on the NATS server, no metric',
  kn_load: 'the same',
  kn_topology: 'the same',
  kn_leader: 'the same',
  kn_eventing_process_duration_seconds: 'a metric of Knative that docs/metrics.md says is not told',
};

describe('docs/errors.md', () => {
  const sections = new Map(
    [...read('docs/errors.md').matchAll(/^### (KNEAR_\w+)\n\n([^#]*)/gm)].map(
      ([, code = '', text = '']) => [code, text] as const,
    ),
  );

  test('has a paragraph for each code, in the order of the table, and none for another', () => {
    expect([...sections.keys()]).toEqual(Object.keys(ERRORS));
  });

  test.each(Object.entries(ERRORS))('%s: status and repetition as in the table', (code, row) => {
    const [, status, repetition] =
      /^(\d+), (final|try again)\. /.exec(sections.get(code) ?? '') ?? [];
    expect({ status: Number(status), retryable: repetition === 'try again' }).toEqual({
      status: row.status,
      retryable: row.retryable,
    });
  });
});

describe('README.md', () => {
  const commands = [...read('README.md').matchAll(/^```\n([^`]*)\n```$/gm)].map(([, text]) => text);

  test('starts with how to run and how to test', () => {
    expect(commands.slice(0, 2)).toEqual(['npm ci && npm start', 'npm ci && npm test']);
  });

  test('tells of the test that CI runs', () => {
    expect(read('.ci/run')).toContain('npm ci');
    expect(read('.ci/run')).toContain('npm test');
  });
});

describe.each(pages)('$path', (page) => {
  test('names paths that exist', () => {
    expect(unknown(pathsIn(page.text), isThere)).toEqual([]);
  });

  test('links to what exists', () => {
    expect(unknown(linksIn(page.text), (link) => leadsSomewhere(link, page))).toEqual([]);
  });

  test('names scripts and flags that exist', () => {
    const scripts = [...page.text.matchAll(/npm run ([\w-]+)/g)].map(([, name = '']) => name);
    expect(
      unknown(scripts, (name) => new RegExp(`"${name}": "`).test(read('package.json'))),
    ).toEqual([]);
    expect(unknown(matches(page.text, /(?<![\w-])--[a-z][a-z-]+/g), isFlag)).toEqual([]);
  });

  test('names variables, codes, metrics and annotations that exist', () => {
    const variables = ['KNEAR_SETTINGS', ...SETTING_NAMES.map(variableOf)];
    const codes = Object.keys(ERRORS);
    const names = matches(page.text, /\bKNEAR_[A-Z]+(_[A-Z]+)*\b/g);
    expect(unknown(names, (name) => variables.includes(name) || codes.includes(name))).toEqual([]);
    const metrics = matches(page.text, /\bkn(ear)?_[a-z]+(_[a-z]+)*\b/g);
    const source = ['metrics.ts', 'payload-families.ts']
      .map((file) => read(`main/observe/${file}`))
      .join();
    expect(
      unknown(metrics, (name) => source.includes(`${name.replace(/_(bucket|sum|count)$/, '')}`)),
    ).toEqual([]);
    const annotations = matches(page.text, /(?<![\w.])knear\.dev\/[a-z][a-z-]*/g);
    const isKnown = (name: string) => Object.hasOwn(ANNOTATIONS, name) || name === CONFIG_LABEL;
    expect(unknown(annotations, isKnown)).toEqual([]);
  });
});

test('the sources name pages that exist', () => {
  const sources = sourceFiles([
    'core',
    'broker',
    'dispatcher',
    'controller',
    'main',
    'bench',
    'test',
  ]);
  const named = sources.flatMap(({ path: file, text }) =>
    matches(text, /\bdocs\/[\w/-]+\.md\b/g).map((page) => ({ file, page })),
  );
  expect(named.filter(({ page }) => !existsSync(path.join(ROOT, page)))).toEqual([]);
});

function unknown(names: readonly string[], isKnown: (name: string) => boolean): string[] {
  return [...new Set(names)].filter((name) => EXCEPTIONS[name] === undefined && !isKnown(name));
}

const FOLDERS = '\\.ci|core|broker|dispatcher|controller|main|config|docs|bench|test|dist';
/** Below one of our folders, or a source or page by its bare name. */
const PATH = new RegExp(`(?<![\\w./:@~-])((${FOLDERS})/[\\w./-]*|[\\w-]+\\.(ts|md)\\b)`, 'g');

function pathsIn(text: string): string[] {
  return matches(text, PATH).map((found) => found.replace(/\.$/, ''));
}

function isThere(name: string): boolean {
  if (existsSync(path.join(ROOT, name))) return true;
  return !name.includes('/') && sourceNames.has(name);
}

const sourceNames = new Set(
  filesBelow(['core', 'broker', 'dispatcher', 'controller', 'main', 'bench', 'test', 'docs']).map(
    (file) => path.basename(file),
  ),
);

function linksIn(text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

function leadsSomewhere(link: string, page: Page): boolean {
  const [file = '', anchor] = link.split('#', 2);
  const target = file === '' ? page.path : path.join(path.dirname(page.path), file);
  if (!existsSync(path.join(ROOT, target))) return false;
  return anchor === undefined || anchorsOf(read(target)).includes(anchor);
}

/** As GitHub makes them of headings. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

/** What a user can type: ours, and what the tools of bench and test read. */
function isFlag(flag: string): boolean {
  const commands = ['--strict', '--namespace', '--output', '--admin-url', '--source'];
  const parked = ['--all', '--position', '--to', '--yes'];
  const payload = ['--dry-run', '--force'];
  const send = ['--type', '--id', '--subject', '--extension', '--data', '--file', '--content-type'];
  const more = [...send, '--structured', '--retry', '--filter', '--once'];
  const own = [
    '--settings',
    '--help',
    '--version',
    ...commands,
    ...parked,
    ...payload,
    ...more,
    ...SETTING_NAMES.map(flagOf),
  ];
  const name = flag.slice(2);
  const isRead = new RegExp(`--${name}\\b|'${name}'|^\\s+${name}: \\{`, 'm');
  const readers = ['bench/options.ts', 'test/sim/run.ts', 'test/kill/run.ts', 'package.json'];
  return own.includes(flag) || readers.some((file) => isRead.test(read(file)));
}

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([found]) => found);
}

function read(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8');
}
