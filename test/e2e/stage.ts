/**
 * Everything a test has opened, closed again whatever became of the test: programs, subscribers, folders.
 *
 *   const stage = openStage();
 *   afterEach(() => stage.close());
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { engineOfTests, type Engine } from './engine.ts';
import { guard } from './guard.ts';
import { openLargeSubscriber, type LargeSubscriber } from './large-events.ts';
import { Program, type ProgramOptions } from './program.ts';
import { openSubscriber, type Subscriber } from './subscriber.ts';

export interface Stage {
  /** @param host another address of this machine than 127.0.0.1 */
  subscriber(host?: string): Promise<Subscriber>;
  /** One that holds no data. */
  largeSubscriber(): Promise<LargeSubscriber>;
  /** Writes the resources, starts the program, and resolves when it is ready. */
  start(resources: string, options?: Omit<ProgramOptions, 'folder'>): Promise<Program>;
  /** A program that is not started yet. */
  program(resources: string, options?: Omit<ProgramOptions, 'folder'>): Program;
  /** A new temporary folder. */
  folder(): string;
  /** A file system of this size, in memory; `undefined` where we may not have one. */
  disk(megabytes: number): string | undefined;
  /** Closes everything and forgets it: the stage can be used again. */
  close(): Promise<void>;
}

/** @param options.engine of its programs: that of the test file unless said */
export function openStage({ engine = engineOfTests() }: { readonly engine?: Engine } = {}): Stage {
  const closers: (() => Promise<void> | void)[] = [];

  function folder(): string {
    const path = mkdtempSync(join(tmpdir(), 'knear-e2e-'));
    closers.push(() => {
      rmSync(path, { recursive: true, force: true });
    });
    return path;
  }

  function program(resources: string, options: Omit<ProgramOptions, 'folder'> = {}): Program {
    const flags = [...engine.flags(), ...(options.flags ?? [])];
    const made = new Program({ folder: folder(), ...options, flags });
    closers.push(() => made.crash());
    made.write('main.yaml', resources);
    return made;
  }

  return {
    folder,
    program,
    async subscriber(host) {
      const opened = await openSubscriber(host);
      closers.push(() => opened.close());
      return opened;
    },
    async largeSubscriber() {
      const opened = await openLargeSubscriber();
      closers.push(() => opened.close());
      return opened;
    },
    async start(resources, options) {
      const made = program(resources, options);
      await made.start();
      return made;
    },
    disk(megabytes) {
      const path = folder();
      const size = `size=${String(megabytes)}m`;
      const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', size, 'tmpfs', path]);
      if (status !== 0) return undefined;
      const guarding = guard({ mount: path });
      closers.push(() => {
        spawnSync('umount', ['-l', path]);
        guarding.dismiss();
      });
      return path;
    },
    async close() {
      for (let close = closers.pop(); close; close = closers.pop()) await close();
    },
  };
}
