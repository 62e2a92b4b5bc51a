/**
 * Several programs that share a NATS server and a folder of payloads, each with a role: one controller, and what a test asks for.
 *
 *   const cluster = await openCluster(stage, nats, resources);
 *   const near = await cluster.add('dispatcher', ['--zone', 'a']);
 */
import type { Role } from '../../core/ports/topology-feed.ts';
import type { Nats } from '../servers/nats.ts';
import { eventually } from './eventually.ts';
import type { Program } from './program.ts';
import type { Stage } from './stage.ts';

let clusters = 0;

export interface Cluster {
  readonly controller: Program;
  /** Starts another one; resolves when it is ready. */
  add(role: Role, flags?: readonly string[]): Promise<Program>;
  /** One that is not started yet. */
  program(role: Role, flags?: readonly string[]): Program;
  /** Resolves when all resources are Ready for everybody. */
  ready(): Promise<void>;
}

/** Its controller runs when it resolves. The stage ends all of it. @param more flags of all of them */
export async function openCluster(
  stage: Stage,
  nats: Pick<Nats, 'url'>,
  resources: string,
  more: readonly string[] = [],
): Promise<Cluster> {
  clusters += 1;
  const shared = [
    ...['--nats', nats.url, '--nats-prefix', `cl-${String(clusters)}`],
    ...['--claim-check-folder', stage.folder()],
    ...more,
  ];
  const program = (role: Role, flags: readonly string[] = []) =>
    stage.program(resources, { role, flags: [...shared, ...flags] });
  const controller = program('controller');
  await controller.start();
  return {
    controller,
    program,
    async add(role, flags) {
      const added = program(role, flags);
      await added.start();
      return added;
    },
    async ready() {
      await eventually(
        'all resources Ready',
        async () => {
          const statuses = await controller.statuses();
          return statuses.length > 0 && statuses.every(({ isReady }) => isReady);
        },
        { otherwise: () => controller.output.slice(-2_000) },
      );
    },
  };
}
