/**
 * The program under test: `knear serve` as a child process, with folders of its own, as a user would start it.
 *
 * It is told to take free ports, and says in its banner which ones it got: they change with every start. It counts as
 * started when its admin port says that it is ready.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Role } from '../../core/ports/topology-feed.ts';
import { eventually } from './eventually.ts';
import { readSamples, valueOf, type Labels, type Sample } from './samples.ts';
import { guard, type Guard } from './guard.ts';

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProgramOptions {
  /** Owned by the caller; `resources` is made in it, and `data` unless there is one elsewhere. */
  readonly folder: string;
  readonly data?: string;
  /** Absent: `serve`. */
  readonly role?: Role;
  /** More flags. */
  readonly flags?: readonly string[];
  /** Flags of Node itself. */
  readonly nodeFlags?: readonly string[];
}

/** What `/resources` says about one resource. */
export interface Status {
  readonly resourceId: string;
  readonly isReady: boolean;
  readonly reason: string;
  readonly message: string;
  readonly infos: readonly string[];
}

/** What a command of the program said. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const ENTRY = join(import.meta.dirname, '..', '..', 'main', 'knear.ts');

/** A start takes about a second; on a machine that is busy with other tests, several. */
const READY_MAX_MS = 30_000;
/** Beyond the drain time that tests need, which is a second or two. */
const EXIT_MAX_MS = 12_000;
/** The newest output, of all starts: enough for the banner and what went wrong. */
const OUTPUT_MAX_CHARACTERS = 1_000_000;

export class Program {
  readonly #options: ProgramOptions;
  readonly resourcesFolder: string;
  readonly dataFolder: string;
  #run: Run | undefined;
  #output = '';
  #errors = '';

  constructor(options: ProgramOptions) {
    this.#options = options;
    this.resourcesFolder = join(options.folder, 'resources');
    this.dataFolder = options.data ?? join(options.folder, 'data');
    mkdirSync(this.resourcesFolder, { recursive: true });
  }

  /** Resolves when it is ready. @throws when it is not, with what it said. */
  async start(): Promise<void> {
    this.spawn();
    await this.ready();
  }

  /** Resolves when the one that runs is ready, be it again. @throws when it is not, with what it said. */
  async ready(): Promise<void> {
    const run = this.#running();
    await eventually(
      'ready',
      () => {
        if (run.exit) throw new Error(`knear ended at its start: ${this.#tail()}`);
        return isReady(run.adminUrl);
      },
      { withinMs: READY_MAX_MS, otherwise: () => this.#tail() },
    );
  }

  /** Starts it and does not wait. */
  spawn(): Run {
    if (this.#run && !this.#run.exit) throw new Error('it runs already');
    const { flags = [], nodeFlags = [], role = 'serve' } = this.#options;
    this.#run = new Run({
      args: [
        ...[...nodeFlags, ENTRY, role, '--port', '0', '--admin-port', '0'],
        ...['--resources', this.resourcesFolder, '--data', this.dataFolder],
        ...flags,
      ],
      onOutput: (text) => {
        this.#output = (this.#output + text).slice(-OUTPUT_MAX_CHARACTERS);
      },
      onError: (text) => {
        this.#errors = (this.#errors + text).slice(-OUTPUT_MAX_CHARACTERS);
      },
    });
    return this.#run;
  }

  /** SIGTERM, and how it ended. */
  async stop(): Promise<Exit> {
    const run = this.#running();
    run.kill('SIGTERM');
    return this.ended();
  }

  /** SIGTERM without waiting for the end. */
  terminate(): void {
    this.#running().kill('SIGTERM');
  }

  /** SIGKILL, and it is gone. Nothing if it does not run. */
  async crash(): Promise<void> {
    this.#run?.kill('SIGKILL');
    await this.#run?.ended;
  }

  async ended(): Promise<Exit> {
    const run = this.#running();
    return eventually('the end of the process', () => run.exit, {
      withinMs: EXIT_MAX_MS,
      otherwise: () => this.#tail(),
    });
  }

  /** Where it takes events; new after each start, and empty while nobody is there. */
  get url(): string {
    const { url = '', exit } = this.#running();
    return exit ? '' : url;
  }

  /** Of its admin port; new after each start. */
  get adminUrl(): string {
    return this.#running().adminUrl ?? '';
  }

  get pid(): number {
    return this.#running().pid;
  }

  /** Set once the process has ended. */
  get exit(): Exit | undefined {
    return this.#run?.exit;
  }

  /** What it printed, of all starts. */
  get output(): string {
    return this.#output;
  }

  /** The part of it that went to standard error. */
  get errors(): string {
    return this.#errors;
  }

  /** Of its log, lines of level `error` and above: something that somebody should act on. */
  get complaints(): readonly string[] {
    return this.#output.split('\n').filter((line) => /^\{"level":[56]0,/.test(line));
  }

  async get(path: '/readyz' | '/healthz' | '/metrics' | '/resources'): Promise<Response> {
    return fetch(`${this.adminUrl}${path}`);
  }

  async statuses(): Promise<readonly Status[]> {
    // The shape is what the test that calls this is about.
    const { resources } = (await (await this.get('/resources')).json()) as { resources: Status[] };
    return resources;
  }

  async samples(): Promise<readonly Sample[]> {
    return readSamples(await (await this.get('/metrics')).text());
  }

  /** The sum of a metric's samples with these labels. */
  async metric(name: string, labels: Labels = {}): Promise<number> {
    return valueOf(await this.samples(), name, labels);
  }

  /** Resolves when nothing waits but parked events: whatever was going to happen has happened. */
  async idle(withinMs = 20_000): Promise<void> {
    let waiting: readonly Sample[] = [];
    await eventually(
      'idle',
      async () => {
        const samples = await this.samples();
        waiting = samples.filter(isWaiting);
        return waiting.length === 0;
      },
      { withinMs, otherwise: () => waiting },
    );
  }

  /** Runs a command of the program that asks this one, such as `parked list`. */
  command(...args: readonly string[]): Promise<Ran> {
    const given = [ENTRY, ...args, '--admin-url', this.adminUrl];
    return new Promise((resolve) => {
      execFile(process.execPath, given, (error, stdout, stderr) => {
        resolve({ code: Number(error?.code ?? 0), stdout, stderr });
      });
    });
  }

  /** Writes a file of resources as editors do, by renaming. Whoever needs to know waits for the effect. */
  write(file: string, yaml: string): void {
    const path = join(this.resourcesFolder, file);
    writeFileSync(`${this.resourcesFolder}.new`, yaml);
    renameSync(`${this.resourcesFolder}.new`, path);
  }

  remove(file: string): void {
    rmSync(join(this.resourcesFolder, file));
  }

  /** Writes or removes resources and resolves when another Topology is in force. */
  async change(how: () => void): Promise<void> {
    const before = await this.metric('knear_topology_revision');
    how();
    await eventually(
      'another topology',
      async () => (await this.metric('knear_topology_revision')) > before,
      { otherwise: () => this.#tail() },
    );
  }

  #running(): Run {
    if (!this.#run) throw new Error('it was not started');
    return this.#run;
  }

  #tail(): string {
    return this.#output.slice(-2_000);
  }
}

function isWaiting({ name, labels, value }: Sample): boolean {
  const isLag = name === 'knear_lag' && labels['state'] !== 'parked';
  return (isLag || name === 'knear_open_deliveries') && value > 0;
}

async function isReady(adminUrl: string | undefined): Promise<boolean> {
  if (adminUrl === undefined) return false;
  try {
    const response = await fetch(`${adminUrl}/readyz`);
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false; // it has just ended; whoever waits looks at that, too
  }
}

interface RunOptions {
  readonly args: readonly string[];
  /** What it prints, wherever. */
  readonly onOutput: (text: string) => void;
  /** What of that goes to standard error. */
  readonly onError: (text: string) => void;
}

/** One process, from its start to its end. */
class Run {
  readonly ended: Promise<Exit>;
  readonly pid: number;
  /** Once the banner is there. */
  url: string | undefined;
  adminUrl: string | undefined;
  exit: Exit | undefined;
  readonly #child: ChildProcess;
  readonly #guard: Guard;

  constructor({ args, onOutput, onError }: RunOptions) {
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.pid = this.#child.pid ?? 0;
    this.#guard = guard({ pid: this.pid });
    let printed = '';
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      onOutput(text);
      if (this.adminUrl !== undefined) return;
      printed += text;
      this.url = /takes events at (\S+)$/m.exec(printed)?.[1];
      this.adminUrl = /^health +(\S+)\/readyz$/m.exec(printed)?.[1];
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      onOutput(text);
      onError(text);
    });
    this.ended = once(this.#child, 'close').then(([code, signal]) => {
      this.#guard.dismiss();
      // As node:child_process declares the event.
      this.exit = { code: code as Exit['code'], signal: signal as Exit['signal'] };
      return this.exit;
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}
