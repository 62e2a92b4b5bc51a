/** `knear tail` on the command line: lines until Ctrl-C, or until nobody reads them. */
import { Option } from 'commander';
import { findAddressee } from '../client/addressee.ts';
import { TAIL_FORMATS, type TailFormat } from '../client/follow-tail.ts';
import { adminUrlOption, type AddCommand, type Terminal } from './command.ts';

interface Flags {
  readonly type?: string;
  readonly filter?: string;
  readonly namespace?: string;
  readonly output: TailFormat;
  readonly adminUrl: string;
}

export const addTail: AddCommand = (program, { terminal }) =>
  program
    .command('tail')
    .description(
      'Shows the events of a Broker or Channel as a running knear accepts them, until Ctrl-C. ' +
        'When more come than can be shown, it tells how many were left out.',
    )
    .argument('[name]', 'name or namespace/name (default: the Broker default)')
    .option('--type <type>', 'Only events of this type.')
    .option(
      '--filter <filter>',
      'Only events that pass: an expression in CESQL, or an entry of filters as JSON, e.g. {"prefix":{"type":"order."}}',
    )
    .option('-n, --namespace <namespace>', 'Of the Broker or Channel (default: default)')
    .addOption(
      new Option('-o, --output <format>', 'How it is shown.').choices(TAIL_FORMATS).default('text'),
    )
    .addOption(adminUrlOption())
    .action((name: string | undefined, flags: Flags) => tail(name, flags, terminal));

async function tail(name: string | undefined, flags: Flags, terminal: Terminal): Promise<void> {
  const { adminUrl, type, filter, output } = flags;
  // Before anything takes long, so that no signal is lost.
  const stop = new AbortController();
  void Promise.race([terminal.stopAsked(), terminal.printsUnread()]).then(() => {
    stop.abort();
  });
  const { followTail } = await import('../client/follow-tail.ts');
  const addressee = await findAddressee({ adminUrl, written: name, namespace: flags.namespace });
  await followTail({
    ...{ adminUrl, addressee, type, filter, output },
    hasColour: terminal.isWatched.prints && (terminal.env['NO_COLOR'] ?? '') === '',
    print: terminal.print,
    onOpen() {
      const { kind, namespace, name: found } = addressee;
      terminal.complain(`events of the ${kind} ${namespace}/${found}; Ctrl-C ends\n`);
    },
    signal: stop.signal,
  });
}
