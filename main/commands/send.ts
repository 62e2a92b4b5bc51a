/** `knear send` on the command line: flags to one event, a bar while it goes out, the answer in a line. */
import { resolve } from 'node:path';
import { KnearError } from '../../core/errors.ts';
import { findAddressee } from '../client/addressee.ts';
import type { DataSource } from '../client/event-data.ts';
import { openProgress } from '../client/progress.ts';
import { pause, randomId, systemClock, systemRandom } from '../time.ts';
import {
  adminUrlOption,
  EXIT_FAILED,
  type AddCommand,
  type CommandContext,
  type Terminal,
} from './command.ts';

interface Flags {
  readonly type: string;
  readonly source: string;
  readonly id?: string;
  readonly subject?: string;
  readonly extension: readonly string[];
  readonly data?: string;
  readonly file?: string;
  readonly contentType?: string;
  readonly structured?: true;
  readonly retry: string;
  readonly namespace?: string;
  readonly adminUrl: string;
}

export const addSend: AddCommand = (program, context) =>
  program
    .command('send')
    .description(
      'Sends one event to a Broker or Channel of a running knear, or to any address that takes CloudEvents. ' +
        'Its data is --data, --file, or what is piped in. Ends with 1 unless the event is taken.',
    )
    .argument('[to]', 'name, namespace/name, or a URL (default: the Broker default)')
    .requiredOption('--type <type>', 'What happened, e.g. order.created.')
    .option(
      '--source <source>',
      'Where it happened; with the id it names the event.',
      '/knear/send',
    )
    .option('--id <id>', 'Of its own for each event (default: a random one)')
    .option('--subject <subject>', 'What it happened to.')
    .option('--extension <name=value>', 'Another attribute; may be given many times.', collect, [])
    .option('--data <text>', 'The data.')
    .option('--file <file>', 'A file with the data, of any size; - is what is piped in.')
    .option('--content-type <type>', 'Of the data (default: what it looks like)')
    .option('--structured', 'The event as one JSON text, not as headers and data.')
    .option(
      '--retry <number>',
      'Tries after the first one, when the answer is 408, 429 or 5xx, or none.',
      '0',
    )
    .option('-n, --namespace <namespace>', 'Of the Broker or Channel (default: default)')
    .addOption(adminUrlOption())
    .action((to: string | undefined, flags: Flags) => sendFrom(to, flags, context));

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

async function sendFrom(
  to: string | undefined,
  flags: Flags,
  { terminal, end }: CommandContext,
): Promise<void> {
  const { openData } = await import('../client/event-data.ts');
  const { send } = await import('../client/send.ts');
  const id = flags.id ?? randomId();
  const retriesMax = countOf(flags.retry);
  const attributes = await attributesOf(flags, id);
  const data = await openData(sourceOf(flags, terminal));
  const url = await urlOf(to, flags);
  const progress = openProgress(
    terminal.isWatched.complaints ? terminal.complain : () => undefined,
    systemClock,
  );
  const sent = await send({
    ...{ url, attributes, data, retriesMax, pause, clock: systemClock, random: systemRandom },
    isStructured: flags.structured === true,
    ...(flags.contentType !== undefined && { contentType: flags.contentType }),
    onBegin: (sizeBytes) => progress.begin(sizeBytes),
    onSent: (bytes) => progress.add(bytes),
    onRetry(reason, delayMs) {
      progress.end();
      terminal.complain(`${reason}; again in ${(delayMs / 1_000).toFixed(1)} s\n`);
    },
  }).finally(() => progress.end());
  if (sent.isAccepted) {
    terminal.print(`${sent.status}  id ${id}\n`);
    return;
  }
  terminal.complain(`${sent.reason}\n`);
  end(EXIT_FAILED);
}

async function attributesOf(flags: Flags, id: string): Promise<ReadonlyMap<string, string>> {
  const { extensionOf } = await import('../client/send.ts');
  const { type, source, subject, extension } = flags;
  return new Map([
    ['id', id],
    ['source', source],
    ['type', type],
    ...(subject === undefined ? [] : [['subject', subject] as const]),
    ['time', new Date(systemClock.nowMs()).toISOString()],
    ...extension.map(extensionOf),
  ]);
}

function sourceOf({ data, file }: Flags, { cwd, input }: Terminal): DataSource {
  if (data !== undefined && file !== undefined) {
    throw new KnearError('KNEAR_USAGE', 'an event has one data: give --data or --file, not both');
  }
  if (data !== undefined) return data === '' ? { kind: 'none' } : { kind: 'text', text: data };
  if (file !== undefined && file !== '-') return { kind: 'file', path: resolve(cwd, file) };
  const piped = input();
  if (piped !== undefined) return { kind: 'input', input: piped };
  if (file === undefined) return { kind: 'none' };
  throw new KnearError('KNEAR_USAGE', '--file - needs something that is piped in');
}

async function urlOf(to: string | undefined, { adminUrl, namespace }: Flags): Promise<URL> {
  if (to === undefined || !to.includes('://')) {
    const addressee = await findAddressee({ adminUrl, written: to, namespace });
    return new URL(addressee.url);
  }
  const url = URL.parse(to);
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new KnearError('KNEAR_USAGE', `${to} must be an http or https URL`);
}

function countOf(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new KnearError('KNEAR_USAGE', `--retry ${text} must be a number from 0 on`);
}
