/** `knear get` on the command line. */
import { Option } from 'commander';
import { OUTPUT_FORMATS, type GetOptions } from '../client/get.ts';
import { adminUrlOption, type AddCommand } from './command.ts';

type Flags = Pick<GetOptions, 'namespace' | 'output' | 'adminUrl'>;

export const addGet: AddCommand = (program, { terminal }) =>
  program
    .command('get')
    .description(
      'Shows what became of the resources that a running knear serves, as kubectl would.',
    )
    .argument(
      '[kind]',
      'broker, trigger, channel, subscription, sequence, ...; all if there is none.',
    )
    .argument('[name]', 'Of one resource.')
    .option('-n, --namespace <namespace>', 'Of one namespace.')
    .addOption(
      new Option('-o, --output <format>', 'How it is shown.')
        .choices(OUTPUT_FORMATS)
        .default('table'),
    )
    .addOption(adminUrlOption())
    .action(async (kind: string | undefined, name: string | undefined, flags: Flags) => {
      const { get } = await import('../client/get.ts');
      const target = { ...(kind !== undefined && { kind }), ...(name !== undefined && { name }) };
      terminal.print(await get({ ...target, ...flags }));
    });
