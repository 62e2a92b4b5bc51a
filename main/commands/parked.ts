/** `knear parked` on the command line. */
import { Option, type Command } from 'commander';
import { KnearError } from '../../core/errors.ts';
import { PARKED_FORMATS, type Act, type Owner, type Report } from '../client/parked-client.ts';
import { adminUrlOption, EXIT_FAILED, type AddCommand } from './command.ts';

type Flags = Omit<Owner, 'kind' | 'name'>;
interface Chosen extends Flags {
  readonly all?: true;
  readonly position?: readonly string[];
}

export const addParked: AddCommand = (program, { terminal, end }) => {
  const parked = program
    .command('parked')
    .description(
      'Events that neither their subscriber nor a dead letter sink took: lists them, delivers them anew, or drops them. ' +
        'knear parked help <command> tells the flags of each.',
    );
  const report = ({ text, isDone }: Report) => {
    terminal.print(text);
    end(isDone ? 0 : EXIT_FAILED);
  };

  withFlags(parked.command('list'))
    .description('How many are parked; of one Trigger or Subscription, which and why.')
    .argument('[kind]', 'trigger or subscription; both if there is none.')
    .argument('[name]', 'Of one of them.')
    .action(async (kind: string | undefined, name: string | undefined, flags: Flags) => {
      const { listParked } = await import('../client/parked-client.ts');
      const target = { ...(kind !== undefined && { kind }), ...(name !== undefined && { name }) };
      terminal.print(await listParked({ ...target, ...flags }));
    });

  withOwner(parked.command('show'))
    .description('One parked event: attributes, data, and what the last address answered.')
    .argument('<position>', 'Where it is, as list tells.')
    .action(async (kind: string, name: string, position: string, flags: Flags) => {
      const { showParked } = await import('../client/parked-client.ts');
      terminal.print(await showParked({ kind, name, ...flags }, positionOf(position)));
    });

  withChoice(withOwner(parked.command('replay')))
    .description('Delivers parked events anew, with all retries. What fails again is parked again.')
    .option(
      '--to <url>',
      'Sends each once to this address instead; what it takes is not parked any more.',
    )
    .action(async (kind: string, name: string, flags: Chosen & { readonly to?: string }) => {
      const { replayParked } = await import('../client/parked-client.ts');
      report(await replayParked(actOf({ kind, name }, flags), flags.to));
    });

  withChoice(withOwner(parked.command('drop')))
    .description('Drops parked events for good.')
    .option('--yes', 'Together with --all: yes, every one of them.')
    .action(async (kind: string, name: string, flags: Chosen & { readonly yes?: true }) => {
      const { dropParked } = await import('../client/parked-client.ts');
      const act = actOf({ kind, name }, flags);
      if (flags.all && !flags.yes) {
        const detail = `--all drops every parked event of ${kind} ${name} for good: add --yes`;
        throw new KnearError('KNEAR_USAGE', detail);
      }
      report(await dropParked(act));
    });
  return parked;
};

function withFlags(command: Command): Command {
  return command
    .option('-n, --namespace <namespace>', 'Of one namespace (default of a name: default).')
    .addOption(
      new Option('-o, --output <format>', 'How it is shown.')
        .choices(PARKED_FORMATS)
        .default('table'),
    )
    .addOption(adminUrlOption());
}

function withOwner(command: Command): Command {
  return withFlags(command)
    .argument('<kind>', 'trigger or subscription.')
    .argument('<name>', 'Whose parked events.');
}

function withChoice(command: Command): Command {
  return command
    .option('--all', 'All of them, page by page: each page is done when it is answered.')
    .option('--position <position...>', 'Those at these positions, as list tells.');
}

function actOf(
  { kind, name }: Pick<Owner, 'kind' | 'name'>,
  { namespace, output, adminUrl, all, position }: Chosen,
): Act {
  if ((all === undefined) === (position === undefined)) {
    throw new KnearError('KNEAR_USAGE', 'say which: --position, with one or several, or --all');
  }
  return {
    kind,
    name,
    output,
    adminUrl,
    ...(namespace !== undefined && { namespace }),
    ...(position && { positions: position.map(positionOf) }),
  };
}

function positionOf(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new KnearError('KNEAR_USAGE', `${text} is no position: see knear parked list`);
}
