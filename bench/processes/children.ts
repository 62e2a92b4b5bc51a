/**
 * The processes of a bench run: started here, called here, and ended here whatever happens. Owns every child process
 * and every temporary folder of the run; `endAll` is synchronous, so that it works in an exit handler.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deferred, type Deferred } from './deferred.ts';
import type { Answer, Calls, Hello, Question } from './protocol.ts';

/** A child process that answers calls. */
export interface Child<Known extends Calls> {
  readonly port: number;
  readonly pid: number;
  call<Name extends keyof Known & string>(
    name: Name,
    ask: Known[Name]['ask'],
  ): Promise<Known[Name]['answer']>;
}

/** A child process that knows nothing of the bench. */
export interface Program {
  readonly pid: number;
  /** Resolves, with a word about why, once it has ended. */
  readonly ended: Promise<string>;
  kill(signal: NodeJS.Signals): void;
}

export interface Children {
  start<Known extends Calls>(module: 'load' | 'subscriber' | 'relay'): Promise<Child<Known>>;
  /** Runs another program, Node if none is named; what it prints goes to `outputFile`. */
  run(args: readonly string[], outputFile: string, executable?: string): Program;
  /** A new temporary folder, removed at the end. */
  folder(name: string): string;
  endAll(): void;
}

export function createChildren(): Children {
  const processes = new Set<ChildProcess>();
  const folders: string[] = [];

  function own(child: ChildProcess): ChildProcess {
    processes.add(child);
    child.once('exit', () => processes.delete(child));
    return child;
  }

  return {
    async start(module) {
      const path = join(import.meta.dirname, `${module}.ts`);
      const child = own(fork(path, { serialization: 'advanced' }));
      return converse(child, module);
    },
    run(args, outputFile, executable = process.execPath) {
      const output = openSync(outputFile, 'a');
      const child = own(spawn(executable, args, { stdio: ['ignore', output, output] }));
      const ended = new Promise<string>((resolve) => {
        child.once('error', (error) => resolve(String(error)));
        child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
      });
      return { pid: child.pid ?? 0, ended, kill: (signal) => child.kill(signal) };
    },
    folder(name) {
      const folder = mkdtempSync(join(tmpdir(), `knear-bench-${name}-`));
      folders.push(folder);
      return folder;
    },
    endAll() {
      for (const child of processes) child.kill('SIGKILL');
      for (const folder of folders) rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function converse<Known extends Calls>(
  child: ChildProcess,
  name: string,
): Promise<Child<Known>> {
  const open = new Map<number, Deferred<unknown>>();
  const hello = deferred<Hello>();
  let number = 0;

  child.on('message', (message) => {
    // Our own modules send nothing else.
    const said = message as Hello | Answer;
    if ('port' in said) {
      hello.resolve(said);
      return;
    }
    const asked = open.get(said.number);
    open.delete(said.number);
    if (said.error === undefined) asked?.resolve(said.answer);
    else asked?.reject(new Error(`${name}: ${said.error}`));
  });
  child.once('exit', () => {
    const error = new Error(`the process "${name}" ended`);
    hello.reject(error);
    for (const asked of open.values()) asked.reject(error);
  });

  const { port } = await hello.promise;
  return {
    port,
    pid: child.pid ?? 0,
    async call(call, ask) {
      const asked = deferred<unknown>();
      number += 1;
      open.set(number, asked);
      child.send({ number, name: call, ask } satisfies Question);
      // What the child answers is checked where it is written: `Handlers` has the same types.
      return asked.promise;
    },
  };
}
