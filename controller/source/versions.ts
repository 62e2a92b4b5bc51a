/**
 * From one version of a resource to the next, as the API server would do it.
 *
 * Y6 A version that changes a field that cannot change is refused as a whole; the one before stays. Only a resource that
 *    is gone from the snapshots (Y3) can come back with another value.
 * Y7 `metadata.generation` is what the file says, else 1, and grows by one with each change of the spec for which the
 *    file does not raise it; so a status can say which spec it is about.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Resource } from '../../core/resources.ts';
import { refusals, type FixedField } from './fixed-fields.ts';
import type { ManifestDocument } from './manifest.ts';

/** A version that is in force. */
export interface Version {
  /** With its generation. */
  readonly resource: Resource;
  /** As it was read. */
  readonly source: Resource;
  readonly fixed: readonly FixedField[];
}

export interface Succession {
  /** In force from now on; absent: nothing ever was. */
  readonly version?: Version;
  /** Y6: why the document is not. */
  readonly refused: readonly { readonly where: string; readonly detail: string }[];
}

/** What follows on `before`, now that the document of the resource says something else, or the same. */
export function succeed(
  before: Version | undefined,
  { id = '', resource: source, fixed = [] }: ManifestDocument,
): Succession {
  if (before === undefined) {
    if (source === undefined) return { refused: [] };
    const resource = withGeneration(source, source.metadata.generation ?? 1);
    return { version: { resource, source, fixed }, refused: [] };
  }
  // Not valid, or nothing new.
  if (source === undefined || source === before.source) return { version: before, refused: [] };
  const refused = refusals(id, before.fixed, fixed);
  if (refused.length > 0) return { version: before, refused };
  // Written anew, and the same: nobody need know.
  if (isDeepStrictEqual(source, before.source)) {
    return { version: { ...before, source, fixed }, refused };
  }
  const resource = withGeneration(source, nextGeneration(before, source));
  return { version: { resource, source, fixed }, refused };
}

function nextGeneration(before: Version, { spec, metadata }: Resource): number {
  const { generation: last = 1 } = before.resource.metadata;
  const counted = isDeepStrictEqual(spec, before.source.spec) ? last : last + 1;
  return Math.max(counted, metadata.generation ?? 1);
}

function withGeneration<R extends Resource>(resource: R, generation: number): R {
  return { ...resource, metadata: { ...resource.metadata, generation } };
}
