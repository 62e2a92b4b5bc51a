/** `knear top` on the command line. */
import { systemClock as clock } from '../time.ts';
import { adminUrlOption, type AddCommand, type Terminal } from './command.ts';

interface Flags {
  readonly adminUrl: string;
  readonly once?: true;
}

/** Long enough for a rate to mean something, short enough to look at. */
const EVERY_MS = 1_000;
/** Clears the screen and goes to its top. */
const CLEAR = '\u001b[2J\u001b[H';

export const addTop: AddCommand = (program, { terminal }) =>
  program
    .command('top')
    .description(
      'Shows what a running knear, and all that share its log, do at the moment: who delivers what, how near, what waits. Until Ctrl-C.',
    )
    .option('--once', 'Shows one second and ends.')
    .addOption(adminUrlOption())
    .action((flags: Flags) => top(flags, terminal));

async function top({ adminUrl, once }: Flags, terminal: Terminal): Promise<void> {
  const stop = new AbortController();
  void Promise.race([terminal.stopAsked(), terminal.printsUnread()]).then(() => {
    stop.abort();
  });
  const { readAll, topText } = await import('../client/top.ts');
  const { pause } = await import('../time.ts');
  let before = await readAll(adminUrl, clock.monotonicMs());
  while (!stop.signal.aborted) {
    await Promise.race([pause(EVERY_MS), aborted(stop.signal)]);
    if (stop.signal.aborted) return;
    const now = await readAll(adminUrl, clock.monotonicMs());
    terminal.print(`${terminal.isWatched.prints ? CLEAR : ''}${topText(before, now)}`);
    if (once) return;
    before = now;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
