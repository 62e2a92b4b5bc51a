/** What all commands have in common: what they get, and how they end. */
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { Logger } from 'pino';
import type { serve } from '../serve.ts';

/** What a command line needs of the world around it. */
export interface Terminal {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  print(text: string): void;
  /** The same for bytes that may be many. Resolves when there is room for more; rejects when nobody reads them. */
  printBytes(bytes: Uint8Array): Promise<void>;
  complain(text: string): void;
  openLogger(level: string): Logger;
  readonly serve: typeof serve;
  /** Resolves when somebody wants the program to end. */
  stopAsked(): Promise<void>;
  /** What is piped in; `undefined` where a person would have to type. */
  input(): Readable | undefined;
  /** Whether a person looks: what goes into a file or a pipe has no colours and no bars. */
  readonly isWatched: { readonly prints: boolean; readonly complaints: boolean };
  /** Resolves when nobody reads any more what is printed. */
  printsUnread(): Promise<void>;
}

export interface CommandContext {
  readonly terminal: Terminal;
  /** Gets the exit code of a command that did its work and has bad news. */
  end(code: number): void;
}

/** Adds a command to the program and returns it, so that the help of the program can show its help. */
export type AddCommand = (program: Command, context: CommandContext) => Command;

export const EXIT_FAILED = 1;

/** For commands that ask a running knear. */
export function adminUrlOption(): Option {
  return new Option('--admin-url <url>', 'Where the admin server is.').default(
    'http://127.0.0.1:9090',
  );
}
