/**
 * One look after the other at a folder of YAML and JSON files, and the memory between them. What is running is worth
 * more than what was written last, so nothing is taken away on weak evidence:
 *
 * Y1 A file that cannot be read or parsed, or that has a document of which not even the name can be read, removes
 *    nothing: what it held stays.
 * Y2 A document that is not valid leaves the last valid version of its resource running.
 * Y3 A resource is dropped only after it was missing in two scans at least `GRACE_MS` apart, because editors save by
 *    renaming and by truncating.
 * Y4 Of two documents with one identity the first counts, by file path and then by position.
 * Y5 Bounded: file size, number of files, number of documents. Past a bound, Y1.
 *
 * Whether a version may follow on the one that is running is decided in `versions.ts`.
 *
 * Names that begin with a dot are skipped (editors' temporary files, version control, the inner folders of mounted
 * ConfigMaps), and symbolic links are followed to files, not to folders.
 */
import type { BigIntStats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResourceProblem, Snapshot } from '../../core/ports/resource-source.ts';
import type { Clock } from '../../core/ports/time.ts';
import { readManifests, type ManifestDocument } from './manifest.ts';
import type { Schemas } from './schemas.ts';
import { succeed, type Version } from './versions.ts';

/** Y3: no editor takes a second between removing the old file and putting the new one. */
export const GRACE_MS = 1_000;

/** Y5. About 10,000 Triggers in one file; parsing it takes about two seconds, during which nothing else runs. */
const FILE_MAX_BYTES = 4 * 1024 * 1024;

/** Y5. For files and for documents alike: twice the 10,000 egresses that one log serves, for what goes with them. */
const DOCUMENTS_MAX = 20_000;

export interface ScannerOptions {
  readonly folder: string;
  /** The only file of the folder to look at, whatever its name; absent: all that have the names of YAML and JSON. */
  readonly file?: string;
  readonly clock: Clock;
  readonly schemas: Schemas;
}

/** What one file holds: what was read from it last, and what is missing in it since not long ago. */
interface HeldFile {
  /** Of the version that was read; absent: it has to be read again. */
  readonly stamp?: string;
  readonly documents: readonly HeldDocument[];
  /** Of the file itself, or of documents without a name. */
  readonly problems: readonly ResourceProblem[];
}

interface HeldDocument extends ManifestDocument {
  readonly id: string;
  /** It is of an older version of its file, which cannot be looked up any more. */
  readonly isOld?: boolean;
  /** Y3: since when it is not in the file any more, on the monotonic clock. */
  readonly missingSinceMs?: number;
}

const NO_FILE: HeldFile = { documents: [], problems: [] };

/** What was found where a file should be. */
type Finding =
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unusable'; readonly problem: ResourceProblem; readonly stamp?: string }
  | {
      readonly kind: 'documents';
      readonly documents: readonly ManifestDocument[];
      readonly stamp: string;
    };

/** Knows every file as it was read last, and the resources that are running. */
export class FolderScanner {
  readonly #folder: string;
  readonly #file: string | undefined;
  readonly #clock: Clock;
  readonly #schemas: Schemas;
  readonly #files = new Map<string, HeldFile>();
  #running: ReadonlyMap<string, Version> = new Map();

  constructor({ folder, file, clock, schemas }: ScannerOptions) {
    this.#folder = folder;
    this.#file = file;
    this.#clock = clock;
    this.#schemas = schemas;
  }

  /** Whether something is missing that the next scans may have to drop. */
  get isGraceRunning(): boolean {
    return [...this.#files.values()].some(({ documents }) => documents.some(isMissing));
  }

  async scan(): Promise<Snapshot> {
    const nowMs = this.#clock.monotonicMs();
    let names: string[];
    try {
      names = this.#file === undefined ? await listFiles(this.#folder) : [this.#file];
    } catch (cause) {
      return this.#snapshot([unreadable(this.#folder, causeOf(cause))]); // Y1
    }
    for (const name of new Set([...names, ...this.#files.keys()])) {
      const held = this.#files.get(name) ?? NO_FILE;
      const finding = await this.#find(name, held.stamp);
      const next = expire(update(held, finding, nowMs), nowMs);
      if (finding.kind === 'gone' && next.documents.length === 0) this.#files.delete(name);
      else this.#files.set(name, next);
    }
    return this.#snapshot([]);
  }

  async #find(name: string, stampRead: string | undefined): Promise<Finding> {
    const version = await readVersion({ folder: this.#folder, name, stampRead });
    if (version.kind !== 'bytes') return version;
    const { stamp } = version;
    const parsed = readManifests(version.bytes, name, this.#schemas);
    if (parsed.kind === 'unusable') return { ...parsed, stamp };
    if (this.#countWithout(name) + parsed.documents.length <= DOCUMENTS_MAX) {
      return { ...parsed, stamp };
    }
    // All of them or none: which ones to leave out is not ours to choose.
    const detail = `more than ${String(DOCUMENTS_MAX)} resources in the folder with these`;
    return { kind: 'unusable', stamp, problem: unreadable(name, detail) };
  }

  #countWithout(name: string): number {
    let count = 0;
    for (const [other, { documents }] of this.#files) if (other !== name) count += documents.length;
    return count;
  }

  #snapshot(problems: ResourceProblem[]): Snapshot {
    const files = [...this.#files].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => file);
    problems.push(...files.flatMap((file) => file.problems));
    const documents = files.flatMap((file) => file.documents);
    const chosen = new Map<string, HeldDocument>();
    // What is there comes before what is missing: a document may have moved to another file.
    for (const document of [
      ...documents.filter((each) => !isMissing(each)),
      ...documents.filter(isMissing),
    ]) {
      const first = chosen.get(document.id);
      if (first === undefined) {
        chosen.set(document.id, document);
        problems.push(...document.problems);
      } else if (!isMissing(document)) {
        problems.push(duplicate(document, first)); // Y4
      }
    }
    const running = new Map<string, Version>();
    // In the order of the files, so that a pause in which something is missing changes nothing.
    for (const { id } of documents) {
      const document = chosen.get(id);
      if (document === undefined || running.has(id)) continue;
      const { version, refused } = succeed(this.#running.get(id), document); // Y2
      if (version !== undefined) running.set(id, version);
      if (document.isOld !== true)
        problems.push(...refused.map((each) => invalid({ id, ...each })));
    }
    this.#running = running;
    return { resources: [...running.values()].map(({ resource }) => resource), problems };
  }
}

/** Names below the folder, with `/` between the parts whatever the operating system. */
async function listFiles(folder: string, below = '', names: string[] = []): Promise<string[]> {
  const entries = await readdir(join(folder, below), { withFileTypes: true }).catch(
    (cause: unknown) => {
      // A folder below may go between being listed and being read; the root must be there.
      if (below !== '' && causeOf(cause) === 'ENOENT') return [];
      throw cause;
    },
  );
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const name = `${below}${entry.name}`;
    if (entry.isDirectory()) await listFiles(folder, `${name}/`, names);
    else if (/\.(yaml|yml|json)$/.test(name)) names.push(name);
    if (names.length > DOCUMENTS_MAX) throw new Error(`more than ${String(DOCUMENTS_MAX)} files`);
  }
  return names;
}

async function readVersion(file: {
  folder: string;
  name: string;
  stampRead: string | undefined;
}): Promise<Finding | { kind: 'bytes'; bytes: Uint8Array; stamp: string }> {
  const { folder, name, stampRead } = file;
  const path = join(folder, name);
  try {
    // Looked at before it is read: a change in between makes the next scan read it again.
    const info = await stat(path, { bigint: true });
    if (!info.isFile()) return { kind: 'gone' };
    const stamp = stampOf(info);
    if (stamp === stampRead) return { kind: 'unchanged' };
    if (info.size <= FILE_MAX_BYTES) return { kind: 'bytes', bytes: await readFile(path), stamp };
    const problem = unreadable(name, `larger than ${String(FILE_MAX_BYTES)} bytes; split it`);
    return { kind: 'unusable', stamp, problem };
  } catch (cause) {
    if (causeOf(cause) === 'ENOENT') return { kind: 'gone' };
    return { kind: 'unusable', problem: unreadable(name, causeOf(cause)) };
  }
}

function update(held: HeldFile, finding: Finding, nowMs: number): HeldFile {
  switch (finding.kind) {
    case 'unchanged':
      return held;
    case 'gone':
      return { documents: held.documents.map((each) => missing(each, nowMs)), problems: [] };
    case 'unusable': {
      const { stamp, problem } = finding;
      const documents = held.documents.map(kept); // Y1
      return { ...(stamp !== undefined && { stamp }), documents, problems: [problem] };
    }
    case 'documents': {
      const { documents, stamp } = finding;
      const named = documents.filter((each): each is HeldDocument => each.id !== undefined);
      const unnamed = documents.filter((each) => each.id === undefined);
      const ids = new Set(named.map(({ id }) => id));
      const rest = held.documents
        .filter(({ id }) => !ids.has(id))
        .map((each) => (unnamed.length > 0 ? kept(each) : missing(each, nowMs))); // Y1, Y3
      const problems = unnamed.flatMap((each) => each.problems);
      return { stamp, documents: [...named, ...rest], problems };
    }
  }
}

/** As it was, without what was said about a version that cannot be looked up any more. */
function kept({ id, where, resource, fixed }: HeldDocument): HeldDocument {
  return {
    id,
    where,
    problems: [],
    isOld: true,
    ...(resource && { resource }),
    ...(fixed && { fixed }),
  };
}

function missing(document: HeldDocument, nowMs: number): HeldDocument {
  return { ...kept(document), missingSinceMs: document.missingSinceMs ?? nowMs };
}

function isMissing({ missingSinceMs }: HeldDocument): boolean {
  return missingSinceMs !== undefined;
}

/** Y3: what has been missing for long enough is gone. */
function expire(file: HeldFile, nowMs: number): HeldFile {
  const documents = file.documents.filter(
    ({ missingSinceMs = nowMs }) => nowMs - missingSinceMs < GRACE_MS,
  );
  return { ...file, documents };
}

/** Another inode, size or time is another version; the change time finds copies that keep the modification time. */
function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}

function duplicate({ id, where }: HeldDocument, first: HeldDocument): ResourceProblem {
  const detail = `already defined at ${first.where}; this document is ignored`;
  return invalid({ id, where, detail });
}

function invalid(fault: { id: string; where: string; detail: string }): ResourceProblem {
  const { id, where, detail } = fault;
  return { code: 'KNEAR_MANIFEST_INVALID', where, resourceId: id, detail };
}

function unreadable(where: string, detail: string): ResourceProblem {
  return { code: 'KNEAR_RESOURCES_UNREADABLE', where, detail };
}

/** `ENOENT` and the like; in words for errors of ours. */
export function causeOf(error: unknown): string {
  const { code, message } = error as Partial<NodeJS.ErrnoException>;
  return code ?? message ?? String(error);
}
