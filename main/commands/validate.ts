/** `knear validate` on the command line. */
import { systemClock } from '../time.ts';
import { EXIT_FAILED, type AddCommand, type Terminal } from './command.ts';

export const addValidate: AddCommand = (program, { terminal, end }) =>
  program
    .command('validate')
    .description(
      'Checks resources as serve would, and tells each problem in a line on stdout: `file:line: resource: field: what`. ' +
        'Ends with 1 if there is one.',
    )
    .argument('<path>', 'Folder of YAML and JSON files, or one such file.')
    .option('--strict', 'Fail on warnings, too: references that lead nowhere here, and the like.')
    .action(async (path: string, { strict }: { strict?: true }) => {
      const isStrict = strict === true;
      end((await hasProblems(path, isStrict, terminal)) ? EXIT_FAILED : 0);
    });

async function hasProblems(
  path: string,
  isStrict: boolean,
  { cwd, print }: Terminal,
): Promise<boolean> {
  // Loaded when needed, as serve.
  const { validate } = await import('../validate.ts');
  const { lines, errorCount, warningCount } = await validate({ path, cwd, clock: systemClock });
  print(`${lines.join('\n')}\n`);
  return errorCount > 0 || (isStrict && warningCount > 0);
}
