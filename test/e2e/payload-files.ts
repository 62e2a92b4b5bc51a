/** What a program keeps of large data on its disk, whether or not it knows of it. */
import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Program } from './program.ts';

/** Paths below the folder of payloads, of files that are no payload yet as well (`_tmp/`); the store's own are left out. */
export function payloadFilesOf(program: Pick<Program, 'dataFolder'>): string[] {
  const base = join(program.dataFolder, 'payloads');
  try {
    return readdirSync(base, { recursive: true, withFileTypes: true })
      .filter((each) => each.isFile())
      .map((each) => relative(base, join(each.parentPath, each.name)))
      .filter((name) => name !== '_identity');
  } catch (error) {
    // A folder has gone with its last payload meanwhile.
    const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(base);
    if (isGone) return payloadFilesOf(program);
    throw error;
  }
}
