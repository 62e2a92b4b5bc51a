/** `knear payload` on the command line. */
import { resolve } from 'node:path';

import { Option, type Command } from 'commander';

import { KnearError } from '../../core/errors.ts';
import { PAYLOAD_FORMATS, type PayloadAsked } from '../client/payload-client.ts';
import { adminUrlOption, EXIT_FAILED, type AddCommand, type Terminal } from './command.ts';

export const addPayload: AddCommand = (program, { terminal, end }) => {
  const payload = program
    .command('payload')
    .description(
      'Large data that is kept beside the log (claim check): lists it, gets it out, verifies, sweeps or redacts it. ' +
        'knear payload help <command> tells the flags of each.',
    );
  const client = () => import('../client/payload-client.ts');

  withFlags(payload.command('list'))
    .description('Payloads that events need: id, size, age, records that name it, state.')
    .option('-n, --namespace <namespace>', 'Of one namespace (default: of all).')
    .option('--all', 'All of them, not only the first 100.')
    .action(async ({ all, ...flags }: ListFlags) => {
      const { listPayloads } = await client();
      terminal.print(await listPayloads({ ...flags, isAll: all === true }));
    });

  withId(payload.command('show'))
    .description('One payload: where it is, its size, digest and age, how many records name it.')
    .option('--data <file>', 'Writes its bytes, verified, to a new file; - is standard output.')
    .action((id: string, flags: ShowFlags) => show(id, flags, terminal));

  withFlags(payload.command('verify'))
    .description(
      'Reads one payload, or all, and tells which are missing or altered. Ends with 1 then.',
    )
    .argument('[id]', 'Of one payload, as list tells.')
    .action(async (id: string | undefined, flags: PayloadAsked) => {
      const { verifyPayloads } = await client();
      const { text, isGood } = await verifyPayloads(flags, id);
      terminal.print(text);
      end(isGood ? 0 : EXIT_FAILED);
    });

  withFlags(payload.command('sweep'))
    .description('Removes payloads that no event needs: a crash can leave some.')
    .option('--dry-run', 'Removes nothing, and tells what it would.')
    .option('--force', 'Also more than half of over a thousand, which looks like a wrong log.')
    .action(async ({ dryRun, force, ...flags }: SweepFlags) => {
      const { sweepPayloads } = await client();
      const request = { isDryRun: dryRun === true, isForced: force === true };
      terminal.print(await sweepPayloads(flags, request));
    });

  withId(payload.command('redact'))
    .description('Removes the bytes of a payload for good; its events lose their data.')
    .option('--yes', 'Yes, for good.')
    .action(async (id: string, { yes, ...flags }: RedactFlags) => {
      if (!yes) {
        const detail = `this removes the data of an event for good, delivered or not: add --yes`;
        throw new KnearError('KNEAR_USAGE', detail);
      }
      const { redactPayload } = await client();
      terminal.print(await redactPayload(flags, id));
    });
  return payload;
};

type ListFlags = PayloadAsked & { readonly namespace?: string; readonly all?: true };
type ShowFlags = PayloadAsked & { readonly data?: string };
type SweepFlags = PayloadAsked & { readonly dryRun?: true; readonly force?: true };
type RedactFlags = PayloadAsked & { readonly yes?: true };

function withFlags(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <format>', 'How it is shown.')
        .choices(PAYLOAD_FORMATS)
        .default('table'),
    )
    .addOption(adminUrlOption());
}

function withId(command: Command): Command {
  return withFlags(command).argument('<id>', 'Of the payload, as list tells.');
}

/** What goes to standard output goes there alone. */
async function show(
  id: string,
  { data, output, adminUrl }: ShowFlags,
  terminal: Terminal,
): Promise<void> {
  const { findPayload, payloadText } = await import('../client/payload-client.ts');
  const found = await findPayload(adminUrl, id);
  if (data === undefined) {
    terminal.print(payloadText(found, { output }));
    return;
  }
  const { payloadBytes, writePayload } = await import('../client/payload-data.ts');
  if (data === '-') {
    for await (const piece of payloadBytes(adminUrl, found)) await terminal.printBytes(piece);
    return;
  }
  const writtenTo = resolve(terminal.cwd, data);
  await writePayload(adminUrl, found, writtenTo);
  terminal.print(payloadText(found, { output, writtenTo }));
}
