/**
 * `node test/kill/run.ts [--engine JetStream] [--kills 200] [--seed N] [--limit-seconds S]`: the kill test for as long as you
 * like. Prints one line, and what is wrong if anything is; ends with 0 if nothing is lost, torn, out of order or otherwise wrong.
 * JetStream needs the server that `node test/servers/build.js` builds.
 */
import { parseArgs } from 'node:util';
import { isGood, lineOf, runKillTest } from './kill.ts';

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'embedded' },
    kills: { type: 'string', default: '200' },
    // A run without one differs from the last; the line names it.
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'limit-seconds': { type: 'string' },
  },
});
const engine = engineNamed(values.engine);
const kills = wholeNumber('kills', values.kills);
const seed = wholeNumber('seed', values.seed);
/** A kill takes about two seconds, and four where others use the machine; settling a minute at most. */
const limitSeconds = wholeNumber(
  'limit-seconds',
  values['limit-seconds'] ?? String(120 + kills * 6),
);

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // Ctrl-C under npm arrives twice: the second one must not cut the clearing up short.
  process.on(signal, () => {
    interrupted.abort(new Error(`ended by ${signal}`));
  });
}
console.log(`kill test: ${engine}, ${String(kills)} kills, seed ${String(seed)}`);
try {
  const limitMs = limitSeconds * 1_000;
  const report = await runKillTest({ engine, kills, seed, limitMs, signal: interrupted.signal });
  console.log(lineOf(report));
  /** Enough to look into one, and to see that there are more. */
  const SHOWN_MAX = 20;
  for (const broken of report.lost.slice(0, SHOWN_MAX)) {
    console.log(`lost ${broken.id}: not at any of ${broken.places.join(', ')}`);
  }
  for (const id of report.outOfOrder.slice(0, SHOWN_MAX)) console.log(`out of order: ${id}`);
  for (const id of report.torn.slice(0, SHOWN_MAX)) console.log(`torn: ${id}`);
  for (const fault of report.faults.slice(0, SHOWN_MAX)) console.log(`fault: ${fault}`);
  process.exitCode = isGood(report) ? 0 : 1;
} catch (error) {
  console.log(`seed ${String(seed)}: ${String(error)}`);
  process.exitCode = 1;
}

function engineNamed(name: string): 'embedded' | 'JetStream' {
  if (name === 'embedded' || name === 'JetStream') return name;
  console.log(`--engine ${name}: neither embedded nor JetStream`);
  process.exit(2);
}

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  console.log(`--${name} ${text}: not a whole number`);
  process.exit(2);
}
