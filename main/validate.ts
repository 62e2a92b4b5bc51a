/**
 * `knear validate`: whether resources are as `knear serve` wants them, without serving them. It reads a folder or one file
 * as a source does for the first time, and reconciles what is valid. What is not valid is an error; what is valid and
 * could not run, for want of something else, is a warning: that may be in a cluster or in another folder.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { reconcile, type ResourceStatus } from '../controller/reconcile.ts';
import { causeOf, FolderScanner } from '../controller/source/folder-scanner.ts';
import { loadSchemas } from '../controller/source/schemas.ts';
import { KnearError } from '../core/errors.ts';
import type { Snapshot } from '../core/ports/resource-source.ts';
import type { Clock } from '../core/ports/time.ts';
import { resourceId } from '../core/resources.ts';
import { defaultsOf } from './defaults.ts';
import { readSettings } from './settings.ts';

export interface Validation {
  /** What people read: a line each, and a summary. */
  readonly lines: readonly string[];
  readonly errorCount: number;
  readonly warningCount: number;
}

export interface ValidateOptions {
  /** A folder or a file, as the user wrote it; places in the lines begin with it. */
  readonly path: string;
  readonly cwd: string;
  readonly clock: Clock;
}

/** @throws KNEAR_RESOURCES_UNREADABLE when there is nothing at the path, or it cannot be read. */
export async function validate({ path, cwd, clock }: ValidateOptions): Promise<Validation> {
  const { folder, file } = await placeOf(path, cwd);
  const shownFolder = file === undefined ? path : dirname(path);
  const schemas = await loadSchemas();
  const scanner = new FolderScanner({ folder, clock, schemas, ...(file && { file }) });
  const snapshot = await scanner.scan();

  const at = (where: string, ...words: string[]) =>
    [join(shownFolder, where), ...words.filter((word) => word !== '')].join(': ');
  const errors = snapshot.problems.map(({ where, resourceId: id = '', detail }) =>
    at(where, id, detail),
  );
  const { notReady, infos } = await remarksOn(snapshot, cwd);
  const warnings = notReady.map(({ where, text }) => at(where, 'warning', text));
  const hints = infos.map(({ where, text }) => at(where, 'info', text));
  const counts = [
    counted(snapshot.resources.length, 'valid resource'),
    counted(errors.length, 'error'),
    counted(warnings.length, 'warning'),
  ];
  return {
    lines: [...errors, ...warnings, ...hints, `${path}: ${counts.join(', ')}`],
    errorCount: errors.length,
    warningCount: warnings.length,
  };
}

async function placeOf(path: string, cwd: string): Promise<{ folder: string; file?: string }> {
  const absolute = resolve(cwd, path);
  try {
    const isFolder = (await stat(absolute)).isDirectory();
    if (!isFolder) return { folder: dirname(absolute), file: basename(absolute) };
    await readdir(absolute);
    return { folder: absolute };
  } catch (cause) {
    const detail = `${path} cannot be read (${causeOf(cause)}); name a folder or a file of resources`;
    throw new KnearError('KNEAR_RESOURCES_UNREADABLE', detail, { cause });
  }
}

interface Remark {
  readonly where: string;
  readonly text: string;
}

/** What the resources would be told about themselves. */
async function remarksOn(
  { resources }: Snapshot,
  cwd: string,
): Promise<{ notReady: Remark[]; infos: Remark[] }> {
  const { statuses } = reconcile(
    // Without the problems: they are told as errors.
    { resources, problems: [] },
    {
      revision: 1,
      defaults: defaultsOf(await readSettings({ cwd })),
    },
  );
  const places = new Map(resources.map((each) => [resourceId(each), each.where ?? '']));
  const told = statuses.flatMap((status) => {
    // What a Sequence or Parallel is made of stands in no file, and says best what is wrong with it.
    const where = places.get(status.resourceId) ?? places.get(makerOf(status));
    return where === undefined ? [] : [{ ...status, where }];
  });
  return {
    notReady: told
      .filter(({ isReady }) => !isReady)
      .map(({ where, resourceId: id, reason, message }) => ({
        where,
        text: [id, reason, message].filter((word) => word !== '').join(': '),
      })),
    infos: told
      .filter(({ resourceId: id }) => places.has(id))
      .flatMap(({ where, resourceId: id, infos }) =>
        infos.map((info) => ({ where, text: `${id}: ${info}` })),
      ),
  };
}

/** The id of the resource that a controller made it for. */
function makerOf({ object }: ResourceStatus): string {
  const { namespace = '', ownerReferences = [] } = object?.metadata ?? {};
  const maker = ownerReferences.find(({ controller }) => controller === true);
  return maker === undefined ? '' : `${maker.kind}/${namespace}/${maker.name}`;
}

function counted(count: number, name: string): string {
  return `${String(count)} ${name}${count === 1 ? '' : 's'}`;
}
