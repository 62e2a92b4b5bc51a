/**
 * The command line. It reads flags, prints what people read, turns signals into a graceful end and errors into one line
 * and an exit code; everything else is main/serve.ts.
 *
 *   0    it did what was asked, a graceful end after SIGTERM or SIGINT included
 *   1    it could not: `CODE: message` on stderr (docs/errors.md); or `validate` found something
 *   2    it was asked in the wrong way: a flag, variable or key that does not exist, or a value out of range
 *   70   a fault of knear: please report it
 *   130, 143   ended at once by a second SIGINT, SIGTERM
 *
 * The banner, the sample functions and what commands find print on stdout; the log, one JSON object a line, goes to stderr.
 */
import { realpathSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { destination, pino, stdTimeFunctions, type Logger } from 'pino';
import { codeOf } from '../core/errors.ts';
import { EXIT_FAILED, type Terminal } from './commands/command.ts';
import { addDoctor } from './commands/doctor.ts';
import { addExplain } from './commands/explain.ts';
import { addGet } from './commands/get.ts';
import { addParked } from './commands/parked.ts';
import { addPayload } from './commands/payload.ts';
import { addSend } from './commands/send.ts';
import { addController, addDispatcher, addIngress, addServe } from './commands/serve.ts';
import { addTail } from './commands/tail.ts';
import { addTop } from './commands/top.ts';
import { addValidate } from './commands/validate.ts';
import { packageVersion } from './settings.ts';
import { systemClock } from './time.ts';

/** Runs one command line, without `node` and the script. Resolves with the exit code; never rejects. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode = 0;
  const program = commandLine(terminal, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    return explain(error, terminal);
  }
}

/** The real thing: this process, its arguments, its signals. */
export async function main(): Promise<void> {
  const logFault = openLogger('fatal');
  const exit = (code: number) => process.exit(code);
  process.on('unhandledRejection', (error) => reportFault(error, logFault, exit));
  process.on('uncaughtException', (error) => reportFault(error, logFault, exit));
  // `knear serve | head`: whoever read our lines has gone, which is no reason to stop.
  process.stdout.on('error', () => undefined);
  const code = await run(process.argv.slice(2), {
    env: process.env,
    cwd: process.cwd(),
    print: (text) => process.stdout.write(text),
    printBytes,
    complain: (text) => process.stderr.write(text),
    openLogger,
    // Loaded when needed: `knear --help` need not wait for it.
    serve: async (...given) => (await import('./serve.ts')).serve(...given),
    stopAsked: () => stopAsked(process, { exit, nowMs: () => systemClock.monotonicMs() }),
    input: () => (process.stdin.isTTY ? undefined : process.stdin),
    isWatched: { prints: process.stdout.isTTY, complaints: process.stderr.isTTY },
    printsUnread: () => new Promise((resolve) => process.stdout.once('error', () => resolve())),
  });
  exit(code);
}

function printBytes(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Where the program has signals from, and how it ends. */
export interface StopOptions {
  exit(code: number): void;
  nowMs(): number;
}

const STOP_SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;
/**
 * Ctrl-C under `npm start` arrives twice within milliseconds: from the terminal, which signals the whole group, and passed
 * on by npm. Only a signal after this time is somebody who loses patience.
 */
const SAME_PRESS_MS = 1_000;

/** Resolves at the first SIGINT or SIGTERM; a later one ends the program at once. */
export function stopAsked(
  signals: Pick<NodeJS.EventEmitter, 'on'>,
  { exit, nowMs }: StopOptions,
): Promise<void> {
  return new Promise((resolve) => {
    let askedAtMs: number | undefined;
    for (const [signal, code] of Object.entries(STOP_SIGNALS)) {
      signals.on(signal, () => {
        askedAtMs ??= nowMs();
        resolve();
        if (nowMs() - askedAtMs > SAME_PRESS_MS) exit(code);
      });
    }
  });
}

/** A promise that nobody waited for: the state is unknown, so the process ends; what was acknowledged is on disk. */
export function reportFault(error: unknown, logger: Logger, exit: (code: number) => void): void {
  logger.fatal({ err: error }, 'this is a fault of knear: please report it');
  exit(EXIT_FAULT);
}

const EXIT_USAGE = 2;
/** EX_SOFTWARE of sysexits.h. */
const EXIT_FAULT = 70;

/** @param end gets the exit code of a command that did its work and has bad news. */
function commandLine(terminal: Terminal, end: (code: number) => void): Command {
  const program = new Command('knear')
    .description('A Knative Eventing compatible Broker and Channel.')
    .version(`knear ${packageVersion()}, Node.js ${process.versions.node}`, '--version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.print(text),
      writeErr: (text) => terminal.complain(text),
      // `explain` prints errors, with their code.
      outputError: () => undefined,
    });
  const commands = [
    addServe,
    addValidate,
    addGet,
    addExplain,
    addParked,
    addPayload,
    addSend,
    addTail,
    addTop,
    addDoctor,
  ].map((add) => add(program, { terminal, end }));
  // They have the flags of `serve`.
  for (const add of [addController, addIngress, addDispatcher]) add(program, { terminal, end });
  return program.addHelpText('after', () =>
    commands.map((command) => `\n${command.helpInformation()}`).join(''),
  );
}

/** Says what went wrong, in one line, and gives the exit code. */
function explain(error: unknown, { complain, openLogger }: Terminal): number {
  if (error instanceof CommanderError) return explainUsage(error, complain);
  const code = codeOf(error) ?? systemCodeOf(error);
  if (code === undefined) {
    let exitCode = EXIT_FAULT;
    reportFault(error, openLogger('fatal'), (asked) => (exitCode = asked));
    return exitCode;
  }
  complain(`${code}: ${oneLine((error as Error).message)}\n`);
  const isUsage = code === 'KNEAR_USAGE' || code.startsWith('KNEAR_SETTING_');
  return isUsage ? EXIT_USAGE : EXIT_FAILED;
}

function explainUsage(error: CommanderError, complain: Terminal['complain']): number {
  if (error.exitCode === 0) return 0;
  // Without a command, commander has shown the help.
  if (error.code === 'commander.help') return EXIT_USAGE;
  const code = error.code.endsWith('unknownOption') ? 'KNEAR_SETTING_UNKNOWN' : 'KNEAR_USAGE';
  complain(`${code}: ${oneLine(error.message.replace(/^error: /, ''))}\n`);
  return EXIT_USAGE;
}

/** `EACCES` and its like: not ours, but a name that can be looked up, and nothing that we did wrong. */
function systemCodeOf(error: unknown): string | undefined {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  return typeof syscall === 'string' ? code : undefined;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ');
}

function openLogger(level: string): Logger {
  // Written at once: the last line before a crash is the one that is needed.
  const stderr = destination({ fd: 2, sync: true });
  return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime }, stderr);
}

/** Started as the script itself; main/knear.js calls `main` on its own. */
function isScript(): boolean {
  const script = process.argv[1];
  return script !== undefined && realpathSync(script) === import.meta.filename;
}

if (isScript()) await main();
