/**
 * `npm run bench`: runs the rows of docs/benchmarks.md against `knear serve` and its two floors, prints each as it comes,
 * and leaves a table and a picture in bench/results/.
 *
 *   load generator ---> subscriber                    direct, the floor
 *   load generator ---> bare relay ---> subscriber    the floor of a broker in Node
 *   load generator ---> knear serve --> subscriber    what is measured
 *
 * Every box is a process of its own. All of them, and all temporary folders, go when this one goes.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GROUPS, USAGE, parseOptions, type Group, type Options } from './options.ts';
import { plot } from './plot.ts';
import { failedLine, markdown, terminalLine } from './report.ts';
import type { Attempt, FailedRow, Row } from './row.ts';
import { runChain } from './rows/chain.ts';
import { runFanOut, runLatency, runThroughput } from './rows/contests.ts';
import { runFilters } from './rows/filters.ts';
import { runHops } from './rows/hops.ts';
import { runInline } from './rows/inline.ts';
import { runLarge } from './rows/large.ts';
import { runMemory } from './rows/memory.ts';
import { runRecovery } from './rows/recovery.ts';
import { runServer } from './rows/server.ts';
import { runHanging, runTriggers } from './rows/rivals.ts';
import { openStage, type Stage } from './stage.ts';
import { filesystemOf, machineLine } from './system.ts';

type RunGroup = (stage: Stage, options: Options, attempt: Attempt) => Promise<void>;

const RUN: Readonly<Record<Group, RunGroup>> = {
  throughput: runThroughput,
  latency: runLatency,
  chain: runChain,
  hops: runHops,
  'fan-out': runFanOut,
  triggers: runTriggers,
  hanging: runHanging,
  filters: runFilters,
  recovery: runRecovery,
  large: runLarge,
  memory: runMemory,
  inline: runInline,
  server: runServer,
};

const RESULTS = join(import.meta.dirname, 'results');

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    console.log(USAGE);
    return;
  }
  const options = parseOptions(args);
  const machine = machineLine(tmpdir());
  console.log(machine);
  if (filesystemOf(tmpdir()) === 'tmpfs') {
    console.log(
      'WARNING: temporary folders are in memory; set TMPDIR to a disk to measure flushes',
    );
  }
  const stage = await openStage(options.engine);
  process.on('exit', () => stage.children.endAll());

  const rows: Row[] = [];
  const failed: FailedRow[] = [];
  const attempt: Attempt = async (title, measure) => {
    try {
      const { durability = stage.engine.durability, ...measured } = await measure();
      const row = { ...measured, durability, engine: stage.engine.name };
      rows.push(row);
      console.log(terminalLine(row));
    } catch (error) {
      const failure = { title, reason: error instanceof Error ? error.message : String(error) };
      failed.push(failure);
      console.log(failedLine(failure));
    }
  };
  for (const group of GROUPS.filter((each) => options.groups.includes(each))) {
    console.log(`-- ${group}`);
    await RUN[group](stage, options, attempt);
  }
  save({ rows, failed, options, machine, args });
  if (failed.length > 0 || rows.some(({ lost }) => lost > 0)) {
    process.exitCode = 1;
  }
}

interface Results {
  readonly rows: readonly Row[];
  readonly failed: readonly FailedRow[];
  readonly options: Options;
  readonly machine: string;
  readonly args: readonly string[];
}

function save({ rows, failed, options, machine, args }: Results): void {
  const date = new Date().toISOString();
  const table = markdown(rows, failed, {
    machine,
    versions: versions(),
    command: ['npm run bench', ...(args.length > 0 ? ['--', ...args] : [])].join(' '),
    date,
    rounds: options.rounds,
    seconds: options.ms / 1e3,
  });
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(join(RESULTS, `${options.name}.md`), table);
  writeFileSync(
    join(RESULTS, `${options.name}.svg`),
    plot(rows, `${machine.split(',')[0]}, ${date}`),
  );
  console.log(`written: bench/results/${options.name}.md and .svg`);
}

/** Of Node.js and of the libraries that decide the figures. */
function versions(): string {
  const file = readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8');
  // Our own file: it has a version and dependencies.
  const { version, dependencies } = JSON.parse(file) as {
    version: string;
    dependencies: Record<string, string>;
  };
  const libraries = ['lmdb', 'fastify', 'undici'].map((name) => `${name} ${dependencies[name]}`);
  return [`knear ${version}`, `Node.js ${process.versions.node}`, ...libraries].join(', ');
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // 130 is the shell's code for an interrupted program. The exit handler ends the children.
  process.on(signal, () => process.exit(130));
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
process.exit();
