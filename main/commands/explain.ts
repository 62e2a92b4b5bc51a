/** `knear explain` on the command line. */
import { Option } from 'commander';
import { EXPLAIN_FORMATS, type ExplainEventOptions } from '../client/explain-event.ts';
import { adminUrlOption, type AddCommand } from './command.ts';

type Flags = Omit<ExplainEventOptions, 'id'>;

export const addExplain: AddCommand = (program, { terminal }) =>
  program
    .command('explain')
    .description(
      'Tells what happened to an event: who wanted it and who did not and why, each attempt, where it ended. ' +
        'A running knear remembers recent events and those that failed (explainEvents).',
    )
    .argument('<event-id>', 'The id of the event.')
    .option('--source <source>', 'The source of the event, where several have the id.')
    .addOption(
      new Option('-o, --output <format>', 'How it is shown.')
        .choices(EXPLAIN_FORMATS)
        .default('text'),
    )
    .addOption(adminUrlOption())
    .action(async (id: string, flags: Flags) => {
      const { explainEvent } = await import('../client/explain-event.ts');
      terminal.print(await explainEvent({ id, ...flags }));
    });
