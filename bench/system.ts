/**
 * What the kernel says about processes and the machine (Linux, /proc). Elsewhere the bench runs without these columns.
 */
import { readFileSync, statfsSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

export interface Usage {
  readonly cpuUs: number;
  /** Anonymous resident memory: heap and buffers, without the mapped file of the log. */
  readonly anonBytes: number;
}

/** Linux counts CPU time in hundredths of a second (USER_HZ), whatever the kernel's own tick is. */
const TICK_US = 10_000;

/** Magic numbers of statfs(2); a log on tmpfs would be measured without a disk. */
const FILESYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlayfs',
  0x2fc12fc1: 'zfs',
};

/** Zero for a process that is gone, or where there is no /proc. */
export function usageOf(pid: number): Usage {
  const stat = read(`/proc/${pid}/stat`);
  // utime and stime are fields 14 and 15; the name before them, in parentheses, may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const anonKib = /RssAnon:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1];
  return {
    cpuUs: (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK_US,
    anonBytes: Number(anonKib ?? 0) * 1024,
  };
}

/** Bytes that the process made the kernel write to a disk, mapped files included. Zero as above. */
export function writtenBytesOf(pid: number): number {
  return Number(/^write_bytes: (\d+)/m.exec(read(`/proc/${pid}/io`))?.[1] ?? 0);
}

/** CPU time that processes of the whole machine used, and what a hypervisor took away. */
export function machineCpuUs(): number {
  const [user = 0, nice = 0, system = 0, , , , , steal = 0] = read('/proc/stat')
    .split('\n', 1)
    .join()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + steal) * TICK_US;
}

/** One line for the report. */
export function machineLine(folder: string): string {
  const [first] = cpus();
  const memoryGib = Math.round(totalmem() / 2 ** 30);
  const busy = loadavg().map((load) => load.toFixed(1));
  return (
    `${cpus().length} x ${first?.model ?? 'unknown CPU'}, ${memoryGib} GiB, Linux ${release()}, ` +
    `log on ${filesystemOf(folder)}, load before ${busy.join(' ')}`
  );
}

export function filesystemOf(folder: string): string {
  const { type } = statfsSync(folder);
  return FILESYSTEMS[type] ?? `file system 0x${type.toString(16)}`;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // gone, or no /proc here: the caller shows zero
  }
}
