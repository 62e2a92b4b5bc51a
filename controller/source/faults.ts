/** What is wrong with a document: a sentence each, and the place inside the document that it is about. */

/** Names of fields and indexes into lists, from the top of the document. */
export type Path = readonly (string | number)[];

export interface Fault {
  readonly path: Path;
  readonly detail: string;
}

export function fault(detail: string, ...path: Path): Fault {
  return { path, detail };
}

/** The same faults, seen from further up. */
export function under(path: Path, faults: readonly Fault[]): Fault[] {
  return faults.map((inner) => ({ path: [...path, ...inner.path], detail: inner.detail }));
}

/** Those of all items of a list. */
export function ofEach<T>(items: readonly T[] = [], faultsOf: (item: T) => Fault[]): Fault[] {
  return items.flatMap((item, index) => under([index], faultsOf(item)));
}

/** As people write a path: `spec.filters[0].exact.type`. */
export function written(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${String(part)}]`;
    return text === '' ? part : `${text}.${part}`;
  }, '');
}

/** Characters of a value that are quoted: enough to recognise it. */
const QUOTE_MAX = 80;

export function quoted(value: unknown): string {
  return String(JSON.stringify(value)).slice(0, QUOTE_MAX);
}
