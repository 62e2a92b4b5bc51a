/**
 * What the program under test keeps its events in. With JetStream each program has a server of its own, so that nothing of one
 * row is left for the next.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serverProgram } from '../test/servers/build.js';
import { nowUs, sleepMs } from './clock.ts';
import type { Children, Program } from './processes/children.ts';
import { startSut, type Sut } from './sut.ts';
import { writtenBytesOf } from './system.ts';

export const ENGINES = ['embedded', 'jetstream', 'jetstream-always'] as const;
export type EngineName = (typeof ENGINES)[number];

export interface Engine {
  readonly name: EngineName;
  /** What an accepted event survives, for the rows. */
  readonly durability: string;
  /** Starts `knear serve` on it. @param flags beside those of the engine. */
  start(resources: string, flags?: readonly string[]): Promise<Sut>;
  /** Processes beside the programs, whose work is part of theirs. */
  pids(): readonly number[];
}

const READY_MAX_MS = 10_000;

/**
 * What a 2xx promises. Embedded: the event is synced to the disk and survives a crash of the machine, or every subscriber has
 * settled it already. The report explains the words once.
 */
const DURABILITY: Readonly<Record<EngineName, string>> = {
  embedded: 'machine or settled',
  jetstream: 'process (JetStream R1, default sync)',
  'jetstream-always': 'machine (JetStream R1, sync always)',
};

export function openEngine(name: EngineName, children: Children): Engine {
  const servers = new Set<NatsServer>();
  return {
    name,
    durability: DURABILITY[name],
    pids: () => [...servers].map(({ program }) => program.pid),
    async start(resources, flags = []) {
      if (name === 'embedded') return startSut(children, resources, flags);
      const server = await startNats(children, { isAlways: name === 'jetstream-always' });
      servers.add(server);
      const own = ['--nats', server.url];
      if (name === 'jetstream-always') own.push('--nats-durability', 'machine');
      const end = async (): Promise<void> => {
        servers.delete(server);
        server.program.kill('SIGKILL');
        await server.program.ended;
        rmSync(server.folder, { recursive: true, force: true });
      };
      try {
        const sut = await startSut(children, resources, [...own, ...flags]);
        return beside(sut, { end, serverPid: server.program.pid });
      } catch (error) {
        await end();
        throw error;
      }
    },
  };
}

interface Server {
  readonly serverPid: number;
  readonly end: () => Promise<void>;
}

/** The server goes with the program, and writes for it. */
function beside(sut: Sut, server: Server): Sut {
  return {
    ...sut,
    loggedBytes: async () => writtenBytesOf(server.serverPid),
    discard: async () => {
      await sut.discard();
      await server.end();
    },
    restart: async (resources) => beside(await sut.restart(resources), server),
  };
}

export interface NatsServer {
  readonly url: string;
  readonly folder: string;
  readonly program: Program;
}

/** @throws when it does not listen within 10 s. */
export async function startNats(
  children: Children,
  { isAlways }: { readonly isAlways: boolean },
): Promise<NatsServer> {
  const folder = children.folder('nats');
  const config = join(folder, 'server.conf');
  writeFileSync(
    config,
    `listen: "127.0.0.1:-1"
ports_file_dir: "${folder}"
jetstream { store_dir: "${join(folder, 'data')}"${isAlways ? ', sync_interval: always' : ''} }
`,
  );
  const output = join(folder, 'server.log');
  const program = children.run(['-c', config], output, serverProgram('nats-server'));
  const giveUpUs = nowUs() + READY_MAX_MS * 1e3;
  for (;;) {
    const url = urlIn(folder);
    if (url !== undefined) return { url, folder, program };
    if (nowUs() > giveUpUs) throw new Error(`no nats-server: ${readFileSync(output, 'utf8')}`);
    await sleepMs(10);
  }
}

/** It writes its ports to a file when it listens. */
function urlIn(folder: string): string | undefined {
  const name = readdirSync(folder).find((each) => each.endsWith('.ports'));
  const file = name === undefined ? undefined : join(folder, name);
  if (file === undefined || !existsSync(file)) return undefined;
  try {
    // Of nats-server: the addresses that it listens at, by protocol.
    const { nats } = JSON.parse(readFileSync(file, 'utf8')) as { nats?: string[] };
    return nats?.[0];
  } catch {
    return undefined; // half written
  }
}
