/** `knear doctor` on the command line: takes what serve takes, and tells what would become of it. */
import { Option } from 'commander';
import type { SettingSources } from '../settings.ts';
import { pause, systemClock } from '../time.ts';
import { EXIT_FAILED, type AddCommand, type CommandContext } from './command.ts';
import { settingOptions } from './serve.ts';

const FORMATS = ['text', 'json'] as const;

type Flags = NonNullable<SettingSources['flags']> & { readonly output: (typeof FORMATS)[number] };

export const addDoctor: AddCommand = (program, context) => {
  const doctor = program
    .command('doctor')
    .description(
      'Looks for what would keep knear serve from working well, and says what to do: a line for each check. ' +
        'It takes all flags, variables and the file of serve. Ends with 1 if a check fails.',
    )
    .addOption(
      new Option('-o, --output <format>', 'How it is shown.').choices(FORMATS).default('text'),
    )
    .action((flags: Flags) => examineAll(flags, context));
  // As serve --help explains them.
  for (const option of settingOptions()) doctor.addOption(option.hideHelp());
  return doctor;
};

async function examineAll({ output, ...flags }: Flags, { terminal, end }: CommandContext) {
  const { examine, reportOf } = await import('../doctor/doctor.ts');
  const { env, cwd } = terminal;
  const checks = await examine({ sources: { flags, env, cwd }, clock: systemClock, pause });
  terminal.print(
    output === 'json' ? `${JSON.stringify({ checks }, undefined, 2)}\n` : reportOf(checks),
  );
  if (checks.some(({ state }) => state === 'FAIL')) end(EXIT_FAILED);
}
