/** What a disk says when it refuses, in the codes of `core/ports/payload-store.ts` and with what to do about it. */
import { codeOf, KnearError, messageOf } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'KNEAR_PAYLOAD_STORE_FULL',
  EDQUOT: 'KNEAR_PAYLOAD_STORE_FULL',
  EACCES: 'KNEAR_PAYLOAD_STORE_DENIED',
  EPERM: 'KNEAR_PAYLOAD_STORE_DENIED',
};

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'make room on the disk',
  EDQUOT: 'make room, or raise the quota of the user that knear runs as',
  EACCES: 'the user that knear runs as needs the right to read and write there',
  EPERM: 'the user that knear runs as needs the right to read and write there',
  EMFILE: 'raise the number of files that knear may have open (ulimit -n)',
  ENFILE: 'this machine has too many files open',
  EIO: 'the disk has errors: look into the log of the system',
  EROFS: 'its disk is mounted read-only, often after an error: look into the log of the system',
  EXDEV:
    'spool and payload store have to be on one mount: two mounts of one disk are not enough, because no file can be renamed from one to the other',
  ELOOP: 'a symbolic link stands where a file of the payload store should be: remove it',
};

/** @param doing what was tried, as in `reading the payload a/b`. */
export function diskFault(error: unknown, doing: string): KnearError {
  // Only our own errors have a code of ours.
  if (codeOf(error)) return error as KnearError;
  const name = systemCode(error) ?? '';
  const advice = ADVICE[name] ?? 'check the disk that it is on';
  return new KnearError(
    CODES[name] ?? 'KNEAR_PAYLOAD_STORE_AWAY',
    `${doing} failed: ${messageOf(error)}; ${advice}`,
    { cause: error },
  );
}

/** `ENOENT` and the like; `undefined` for what no system call said. */
export function systemCode(error: unknown): string | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && codeOf(error) === undefined ? code : undefined;
}
