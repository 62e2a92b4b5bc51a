/**
 * The processes of one cluster that tests kill, freeze and part from their server. They know that server and nothing else of each
 * other; the controllers share a folder of resources.
 */
import { readFileSync } from 'node:fs';
import type { Role } from '../../core/ports/topology-feed.ts';
import { eventually } from '../e2e/eventually.ts';
import type { Program } from '../e2e/program.ts';
import type { Stage } from '../e2e/stage.ts';
import type { Nats } from '../servers/nats.ts';

/** What a lease of a dead dispatcher's deliveries takes, by the server's clock. */
export const LEASE_MS = 15_000;

export interface Parts {
  /** One that is not started yet. */
  add(role: Role, flags?: readonly string[]): Program;
  started(role: Role, flags?: readonly string[]): Promise<Program>;
}

let clusters = 0;

/** @param yaml what all of its controllers read */
export function partsOf(stage: Stage, nats: Pick<Nats, 'url'>, yaml: string): Parts {
  clusters += 1;
  const shared = [
    ...['--nats', nats.url, '--nats-prefix', `kill-${String(clusters)}`],
    ...['--claim-check-folder', stage.folder()],
  ];
  let resources: string | undefined;
  const add: Parts['add'] = (role, flags = []) => {
    const folder = role === 'controller' && resources ? ['--resources', resources] : [];
    const program = stage.program(yaml, { role, flags: [...shared, ...folder, ...flags] });
    if (role === 'controller') resources ??= program.resourcesFolder;
    return program;
  };
  return {
    add,
    async started(role, flags) {
      const program = add(role, flags);
      await program.start();
      return program;
    },
  };
}

/** Resolves when all resources are Ready for everybody, as this controller says. */
export async function allReady(controller: Program, count: number): Promise<void> {
  await eventually(
    'all resources Ready',
    async () => {
      const statuses = await controller.statuses();
      return statuses.length === count && statuses.every(({ isReady }) => isReady);
    },
    { otherwise: () => controller.output.slice(-2_000) },
  );
}

/** SIGSTOP: its connections stay open, and it does not answer. Resolves when it stands still. */
export async function freeze({ pid }: Program): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await eventually('standing still', () => {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    // The field after the name, which is in parentheses. See proc_pid_stat(5).
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
  });
}

export function thaw({ pid }: Program): void {
  process.kill(pid, 'SIGCONT');
}

/** Resolves when it has said this, be it in an earlier life. */
export async function says(program: Program, what: string | RegExp): Promise<void> {
  await eventually(`said: ${String(what)}`, () => program.output.search(what) >= 0, {
    otherwise: () => program.output.slice(-2_000),
  });
}

/** Of its log, what is no word about a server that is away, which somebody has killed. */
export function faultsOf(program: Program): string[] {
  return program.complaints.filter((line) => !line.includes('"code":"KNEAR_NATS_AWAY"'));
}
