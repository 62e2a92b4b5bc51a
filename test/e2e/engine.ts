/** What a program under test keeps its events in: the embedded log, or NATS JetStream on a real server. */
import type { Nats } from '../servers/nats.ts';

export interface Engine {
  readonly name: 'embedded' | 'JetStream';
  /** Whether large data goes when nobody needs it any more. */
  readonly removesPayloads: boolean;
  /** Flags for a program that starts with nothing, and finds what it had each time that it is started with them again. */
  flags(): readonly string[];
  /** Flags for a program in which no Broker may keep more waiting than this. */
  quotaFlags(bytes: number): readonly string[];
}

export const EMBEDDED: Engine = {
  name: 'embedded',
  removesPayloads: true,
  flags: () => [],
  // A quarter of the log is what one Broker may have of it.
  quotaFlags: (bytes) => ['--log-size-max', String(4 * bytes)],
};

/** Programs on one server, each with a prefix of its own. The server need not be there before the first asks for its flags. */
export function jetStream(server: () => Pick<Nats, 'url'>): Engine {
  let programs = 0;
  return {
    name: 'JetStream',
    removesPayloads: false,
    flags: () => {
      programs += 1;
      return ['--nats', server().url, '--nats-prefix', `e2e-${String(programs)}`];
    },
    // Each Broker has a stream of its own.
    quotaFlags: (bytes) => ['--nats-stream-max', String(bytes)],
  };
}

/** Jest gives each test file its own modules, and with them this. */
let engineInUse = EMBEDDED;

/** From now on, stages of this test file that are told nothing else run their programs on this one. */
export function useEngine(engine: Engine): void {
  engineInUse = engine;
}

export function engineOfTests(): Engine {
  return engineInUse;
}
