/** Starts processes that own logs (`log-process-child.ts`), talks to them, and sees how they end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

export type Command =
  | { readonly kind: 'open'; readonly folder: string; readonly reserveBytes?: number }
  | { readonly kind: 'append'; readonly id: string; readonly sizeBytes: number }
  | { readonly kind: 'fill'; readonly sizeBytes: number }
  | { readonly kind: 'churn' }
  | { readonly kind: 'take' }
  /** Takes what can be read of a log that may be damaged, and settles nothing. */
  | { readonly kind: 'look' }
  | { readonly kind: 'skip'; readonly ms: number }
  | { readonly kind: 'close' };

export interface Answer {
  /** Of the error that the command ended in. */
  readonly code?: string;
  readonly message?: string;
  readonly ids?: readonly string[];
  readonly worked?: string | undefined;
  readonly parked?: string | undefined;
  readonly settled?: string | undefined;
  readonly state?: string;
  /** The process ended instead of answering: by a signal, or with an exit code. */
  readonly end?: string;
}

export interface LogProcess {
  readonly pid: number | undefined;
  /** Resolves with the next answer; `end` when there will be none. */
  call(command: Command): Promise<Answer>;
  /** The next answer of a command that gives many. */
  next(): Promise<Answer>;
  kill(): Promise<void>;
}

const CHILD = path.join(import.meta.dirname, 'log-process-child.ts');

export function startLogProcess(): LogProcess {
  const child = spawn(process.execPath, [CHILD], { stdio: ['pipe', 'pipe', 'pipe'] });
  // What LMDB itself prints about damage is of no interest, what ended the process is.
  let trouble = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    trouble += text;
  });
  child.stdin.on('error', () => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, 'exit').then(([code, signal]) =>
    String(signal ?? `exit ${String(code)}`),
  );
  const next = async (): Promise<Answer> => {
    const line = await lines.next();
    if (line.done) return { end: await ended, message: trouble };
    return JSON.parse(line.value) as Answer;
  };
  return {
    pid: child.pid,
    next,
    call: (command) => {
      child.stdin.write(`${JSON.stringify(command)}\n`);
      return next();
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
