/**
 * A real nats-server for a test: a process of its own on 127.0.0.1, on a port that was free, with JetStream in a folder of its
 * own. It can be killed, frozen, and started again on what it had on its disk.
 *
 *   const nats = await openNats({ jetStream: 'sync_interval: always' });
 *   afterEach(() => nats.close());
 *
 * The server chooses its ports itself (-1) and writes them to a file once it listens, so nobody can take one in between. It counts
 * as started when its monitoring port says that it is healthy, which is after JetStream has recovered what is on the disk.
 *
 * It does not outlive the tests. `close` ends it; if the test process ends without that, by an error or by SIGKILL, the guard
 * does (test/e2e/guard.ts), whatever state the server is in. Only then its folder stays, in the system's temporary folder.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { eventually } from '../e2e/eventually.ts';
import { guard } from '../e2e/guard.ts';
import type { Exit } from '../e2e/program.ts';
import { serverProgram } from './build.js';

export interface NatsOptions {
  /** More of the server's configuration, as its file has it: `max_payload`, `authorization`, `accounts`, `tls`. */
  readonly config?: string;
  /** What its `jetstream` block has beside the folder, such as `sync_interval: always`; `false`: there is no JetStream. */
  readonly jetStream?: string | false;
}

export interface Nats {
  /** `nats://127.0.0.1:PORT`, the same after each start. */
  readonly url: string;
  readonly port: number;
  /** Where it answers `/varz`, `/jsz` and `/healthz` over HTTP; new after each start. */
  readonly monitorUrl: string;
  /** What it keeps when it is killed. */
  readonly storeFolder: string;
  readonly pid: number;
  /** The newest of what it logged, of all starts. */
  readonly log: string;
  /** SIGTERM, and how it ended. */
  stop(): Promise<Exit>;
  /** SIGKILL, and it is gone. Nothing if it does not run. */
  kill(): Promise<void>;
  /** Starts it again after `stop` or `kill`: same port, same folder, the newest configuration. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open, and nobody answers. Resolves when it stands still. */
  pause(): Promise<void>;
  /** SIGCONT. */
  resume(): void;
  /** Replaces the configuration that the options had as `config`; for the next `reload` or `restart`. */
  config(text: string): void;
  /** SIGHUP. Resolves when the configuration is in force. @throws what the server says when it refuses it. */
  reload(): Promise<void>;
  /** Ends it in whatever state it is, waits for that, and removes its folder. May be called twice. */
  close(): Promise<void>;
}

/** A start takes a tenth of a second; a busy machine makes it one or two. */
const READY_MAX_MS = 10_000;
/** An answer takes a millisecond. One that never comes must not use up the time for a start. */
const LOOK_MAX_MS = 1_000;
/** It closes connections and writes its state, which is little in a test. */
const STOP_MAX_MS = 10_000;
/** Enough for a start and what went wrong after it. */
const LOG_MAX_CHARACTERS = 1_000_000;

/** Resolves when it takes connections and JetStream is ready. @throws within 10 s when it does not, with its log. */
export async function openNats(options: NatsOptions = {}): Promise<Nats> {
  const server = new NatsServer(mkdtempSync(join(tmpdir(), 'knear-nats-')), options);
  try {
    await server.restart();
  } catch (error) {
    await server.close();
    throw error;
  }
  return server;
}

class NatsServer implements Nats {
  readonly storeFolder: string;
  readonly #folder: string;
  readonly #jetStream: string | false;
  readonly #log = new Log();
  #config: string;
  #run: Run | undefined;
  /** -1: the server chooses. */
  #port = -1;
  #monitorUrl = '';

  constructor(folder: string, { config = '', jetStream = '' }: NatsOptions) {
    this.#folder = folder;
    this.storeFolder = join(folder, 'store');
    this.#jetStream = jetStream;
    this.#config = config;
  }

  get url(): string {
    return `nats://127.0.0.1:${String(this.#port)}`;
  }

  get port(): number {
    return this.#port;
  }

  get monitorUrl(): string {
    return this.#monitorUrl;
  }

  get pid(): number {
    return this.#running().pid;
  }

  get log(): string {
    return this.#log.text;
  }

  async restart(): Promise<void> {
    if (this.#run && !this.#run.exit) throw new Error('it runs already');
    let run = this.#spawn();
    const ports = await eventually(
      'ready',
      async () => {
        if (run.exit) {
          if (!run.isPortTaken())
            throw new Error(`nats-server ended at its start: ${this.#tail()}`);
          // Of another program's connection, which got it while we had none: those are short.
          run = this.#spawn();
        }
        const listening = run.ports();
        return listening && (await isHealthy(listening.monitorUrl)) && listening;
      },
      { withinMs: READY_MAX_MS, otherwise: () => this.#tail() },
    );
    this.#port = ports.port;
    this.#monitorUrl = ports.monitorUrl;
  }

  async stop(): Promise<Exit> {
    const run = this.#running();
    run.signal('SIGTERM');
    // A frozen process gets the first signal only with the second.
    run.signal('SIGCONT');
    return eventually('the end of the process', () => run.exit, {
      withinMs: STOP_MAX_MS,
      otherwise: () => this.#tail(),
    });
  }

  async kill(): Promise<void> {
    this.#run?.signal('SIGKILL');
    await this.#run?.ended;
  }

  async pause(): Promise<void> {
    const { pid } = this.#running();
    this.#running().signal('SIGSTOP');
    await eventually('standing still', () => stateOf(pid) === 'T');
  }

  resume(): void {
    this.#running().signal('SIGCONT');
  }

  config(text: string): void {
    this.#config = text;
    if (this.#run) this.#write(this.#run.port);
  }

  async reload(): Promise<void> {
    const before = this.#log.position;
    this.#running().signal('SIGHUP');
    const [, refusal] = await eventually(
      'reloaded',
      () => RELOADED.exec(this.#log.since(before)) ?? undefined,
      { otherwise: () => this.#tail() },
    );
    if (refusal !== undefined) throw new Error(refusal);
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #spawn(): Run {
    this.#write(this.#port);
    this.#run = new Run({ folder: this.#folder, port: this.#port, log: this.#log });
    return this.#run;
  }

  /** @param port with which the server was started, or will be: it refuses to reload another one */
  #write(port: number): void {
    const jetStream =
      this.#jetStream === false
        ? ''
        : `jetstream {\n  store_dir: ${JSON.stringify(this.storeFolder)}\n  ${this.#jetStream}\n}\n`;
    const head = [
      `listen: "127.0.0.1:${String(port)}"`,
      'http: "127.0.0.1:-1"',
      `ports_file_dir: ${JSON.stringify(this.#folder)}`,
    ];
    writeFileSync(
      join(this.#folder, CONFIG_FILE),
      `${head.join('\n')}\n${jetStream}${this.#config}\n`,
    );
  }

  #running(): Run {
    if (!this.#run || this.#run.exit) throw new Error('it does not run');
    return this.#run;
  }

  #tail(): string {
    return this.#log.text.slice(-2_000);
  }
}

const CONFIG_FILE = 'nats.conf';

/** One of these ends every reload. */
const RELOADED =
  /Reloaded server configuration|Failed to reload server configuration: (.*(?:\n(?!\[).*)*)/;

/** Where one process listens. */
interface Ports {
  readonly port: number;
  readonly monitorUrl: string;
}

/** One process, from its start to its end. */
class Run {
  readonly ended: Promise<void>;
  readonly pid: number;
  readonly port: number;
  exit: Exit | undefined;
  readonly #child: ChildProcess;
  readonly #portsFile: string;
  readonly #log: Log;
  readonly #startedAt: number;

  constructor({ folder, port, log }: { folder: string; port: number; log: Log }) {
    const program = serverProgram('nats-server');
    this.port = port;
    this.#log = log;
    this.#startedAt = log.position;
    this.#child = spawn(program, ['--config', join(folder, CONFIG_FILE)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { pid } = this.#child;
    this.pid = pid ?? 0;
    const guarding = guard(pid === undefined ? {} : { pid });
    // As the server names it.
    this.#portsFile = join(folder, `${basename(program)}_${String(this.pid)}.ports`);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        log.add(text);
      });
    }
    // The program is not there, or is one of another kind of machine; `close` comes all the same.
    this.#child.on('error', (error) => {
      log.add(`${error.message}: is what test/servers/build.js has built still there?\n`);
    });
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        guarding.dismiss();
        this.exit = { code, signal };
        resolve();
      });
    });
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** `undefined` until it listens on all of them. */
  ports(): Ports | undefined {
    const { nats = [], monitoring = [] } = readPorts(this.#portsFile);
    const [url] = nats;
    const [monitorUrl] = monitoring;
    if (url === undefined || monitorUrl === undefined) return undefined;
    return { port: Number(new URL(url).port), monitorUrl };
  }

  isPortTaken(): boolean {
    return this.#log.since(this.#startedAt).includes('address already in use');
  }
}

/** As the server writes it. */
interface PortsFile {
  readonly nats?: readonly string[];
  readonly monitoring?: readonly string[];
}

function readPorts(file: string): PortsFile {
  try {
    // Written by the server of the version that build.js pins.
    return JSON.parse(readFileSync(file, 'utf8')) as PortsFile;
  } catch {
    return {}; // not there yet, or half written: whoever waits looks again
  }
}

async function isHealthy(monitorUrl: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(LOOK_MAX_MS);
    const response = await fetch(`${monitorUrl}/healthz`, { signal });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false; // it has just ended; whoever waits looks at that, too
  }
}

/** `R` runs, `S` sleeps, `T` is stopped: the field after the name, which is in parentheses. See proc_pid_stat(5). */
function stateOf(pid: number): string | undefined {
  const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
  return /^ (\w)/.exec(stat.slice(stat.lastIndexOf(')') + 1))?.[1];
}

/** What a server prints: its newest part, and where in the whole that is. */
class Log {
  text = '';
  #forgotten = 0;

  get position(): number {
    return this.#forgotten + this.text.length;
  }

  add(text: string): void {
    const all = this.text + text;
    this.text = all.slice(-LOG_MAX_CHARACTERS);
    this.#forgotten += all.length - this.text.length;
  }

  since(position: number): string {
    return this.text.slice(Math.max(0, position - this.#forgotten));
  }
}
