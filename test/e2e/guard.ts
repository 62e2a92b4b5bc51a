/**
 * What must not outlive the tests, even if they are killed themselves: a small shell that waits at a pipe which only we
 * hold. When the pipe breaks, we are gone, and it clears up after us. It deletes no files: folders are removed by `stage.ts`,
 * and stay in the system's temporary folder if the tests are killed.
 */
import { spawn } from 'node:child_process';

export interface Guard {
  /** There is nothing left to clear up. */
  dismiss(): void;
}

export interface Guarded {
  /** A process of ours. */
  readonly pid?: number;
  /** A file system that we mounted. */
  readonly mount?: string;
}

const CLEAR_UP = `
  while read -r _; do :; done
  [ -z "$1" ] || kill -9 "$1" 2> /dev/null
  [ -z "$2" ] || umount -l "$2" 2> /dev/null
`;

export function guard({ pid, mount = '' }: Guarded): Guard {
  const args = ['-c', CLEAR_UP, 'guard', pid === undefined ? '' : String(pid), mount];
  // A group of its own: Ctrl-C in a terminal must not end it before it has done its work.
  const shell = spawn('sh', args, { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  return { dismiss: () => void shell.kill('SIGKILL') };
}
