/**
 * Who is killed in a run, and started again. On the embedded log it is the program. On JetStream there are two to lose, so it is
 * the program, the server, and both at once, in turns.
 *
 * A server that is killed keeps what it has written: that was left to the operating system, which goes on (`sync_interval`).
 */
import { pause } from '../e2e/eventually.ts';
import type { Program } from '../e2e/program.ts';
import type { Nats } from '../servers/nats.ts';
import type { SeededRandom } from '../sim/random.ts';

export interface Victims {
  /** SIGKILL to whoever's turn it is, and they are gone. */
  kill(): Promise<void>;
  /** What does not run begins to start. */
  spawn(): void;
  /** What does not run is started; resolves when the program is ready. @throws when it is not. */
  start(): Promise<void>;
  /** Whether a line of the program's log says nothing but that somebody was killed. */
  isAboutKill(complaint: string): boolean;
}

export function programAlone(program: Program): Victims {
  return {
    kill: () => program.crash(),
    spawn: () => void program.spawn(),
    start: () => program.start(),
    isAboutKill: () => false,
  };
}

const TURNS = ['program', 'server', 'both'] as const;
/** A server is away for at most so long: the program finds that out in the middle of what it does, or while it starts. */
const AWAY_MAX_MS = 1_500;

interface Pair {
  readonly program: Program;
  readonly server: Nats;
  readonly random: SeededRandom;
}

export function programAndServer({ program, server, random }: Pair): Victims {
  let turn = 0;
  /** Of the server, while it does not run or has not started yet. */
  let starting: Promise<void> | undefined;
  let isServerDead = false;

  async function killServer(): Promise<void> {
    await server.kill();
    // What was starting has ended by that; how it says so is of no interest.
    await starting?.catch(() => undefined);
    starting = undefined;
    isServerDead = true;
  }

  function startServer(): void {
    isServerDead = false;
    starting = server.restart();
    // Whoever waits for it hears of a failure.
    starting.catch(() => undefined);
  }

  return {
    async kill() {
      const victim = TURNS[turn % TURNS.length];
      turn += 1;
      await Promise.all([
        victim === 'server' ? undefined : program.crash(),
        victim === 'program' ? undefined : killServer(),
      ]);
    },
    spawn() {
      if (program.exit) program.spawn();
      if (isServerDead) startServer();
    },
    async start() {
      if (program.exit) program.spawn();
      if (isServerDead) {
        await pause(random.between(0, AWAY_MAX_MS));
        startServer();
      }
      await starting;
      starting = undefined;
      await program.ready();
    },
    isAboutKill: (complaint) => complaint.includes('"code":"KNEAR_NATS_AWAY"'),
  };
}
