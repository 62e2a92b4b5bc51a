/** `knear serve`, and the roles of it that share a NATS server: flags, banner, sample functions, the end by a signal. */
import { Option } from 'commander';
import type { Role } from '../../core/ports/topology-feed.ts';
import { banner } from '../banner.ts';
import { openSampleFunctions } from '../sample-functions.ts';
import type { Running } from '../serve.ts';
import { packageVersion, readSettings, type Settings, type SettingSources } from '../settings.ts';
import { flagOf, SETTING_NAMES, SETTINGS, type SettingRow } from '../settings-table.ts';
import type { AddCommand, Terminal } from './command.ts';

const FLAGS =
  'Each flag is also an environment variable (--admin-port: KNEAR_ADMIN_PORT) and a key of the settings file ' +
  '(adminPort); a flag goes before a variable, a variable before the file.';

const DESCRIPTIONS: Readonly<Record<Role, string>> = {
  serve:
    'Takes events for the Brokers and Channels in a folder of YAML files and delivers them, until SIGTERM or Ctrl-C.',
  controller:
    'Reads a folder of YAML files, makes a place for each resource on the NATS server, and tells every knear ingress and dispatcher there. One leads, others wait. Its --host and --port are those of the ingress, for the addresses in statuses.',
  ingress: 'Takes events for what knear controller has told it, and keeps them on the NATS server.',
  dispatcher:
    'Delivers events from the NATS server to the subscribers that are nearest to it: say where it is with --pod, --node and --zone.',
};

export const addServe: AddCommand = (program, context) => addRole('serve', program, context);
export const addController: AddCommand = (program, context) =>
  addRole('controller', program, context);
export const addIngress: AddCommand = (program, context) => addRole('ingress', program, context);
export const addDispatcher: AddCommand = (program, context) =>
  addRole('dispatcher', program, context);

function addRole(
  role: Role,
  program: Parameters<AddCommand>[0],
  { terminal }: Parameters<AddCommand>[1],
): ReturnType<AddCommand> {
  const command = program
    .command(role)
    .description(`${DESCRIPTIONS[role]}\n${FLAGS}`)
    .action((flags: SettingSources['flags'] & object) => runUntilStopped(role, flags, terminal));
  for (const option of settingOptions()) command.addOption(option);
  return command;
}

/** A flag for each setting, and one for the file with settings. */
export function settingOptions(): Option[] {
  const file = new Option('--settings <file>', 'YAML file with settings.');
  return [file, ...SETTING_NAMES.map(optionOf)];
}

const PLACEHOLDERS: Readonly<Record<SettingRow['kind'], string>> = {
  folder: 'folder',
  file: 'file',
  host: 'host',
  name: 'name',
  level: 'level',
  url: 'url',
  servers: 'urls',
  prefix: 'prefix',
  durability: 'word',
  places: 'places',
  hop: 'word',
  store: 'store',
  flag: 'flag',
  port: 'port',
  count: 'number',
  size: 'bytes',
  share: 'share',
  duration: 'duration',
};

function optionOf(name: (typeof SETTING_NAMES)[number]): Option {
  const { kind, default: fallback, defaultText, help } = SETTINGS[name] as SettingRow;
  // Not as a default of commander's: that would look like a flag that was given.
  const text = `${help} (default: ${fallback ?? defaultText ?? ''})`;
  return new Option(`${flagOf(name)} <${PLACEHOLDERS[kind]}>`, text);
}

/** What config/samples/quickstart/1-functions.yaml says. */
const SAMPLE_FUNCTIONS_PORT = 18_080;

async function runUntilStopped(
  role: Role,
  flags: NonNullable<SettingSources['flags']>,
  terminal: Terminal,
): Promise<void> {
  const settings = await readSettings({ flags, env: terminal.env, cwd: terminal.cwd, role });
  // Before anything takes long, so that a signal during the start is not lost.
  const stop = terminal.stopAsked();
  const logger = terminal.openLogger(settings.logLevel);
  const functions =
    settings.hasSampleFunctions && (role === 'serve' || role === 'controller')
      ? await openSampleFunctions({
          port: SAMPLE_FUNCTIONS_PORT,
          print: (line) => terminal.print(`${line}\n`),
        })
      : undefined;
  try {
    const starting = new AbortController();
    void stop.then(() => starting.abort());
    const running = await terminal
      .serve(settings, logger, { role, signal: starting.signal })
      .catch((error: unknown) => {
        // Asked to stop while it waited for what it stands on: nothing had begun.
        const isOurs = starting.signal.aborted && error === starting.signal.reason;
        if (!isOurs) throw error;
      });
    if (!running) return;
    terminal.print(`${bannerOf(role, running, settings)}\n\n`);
    await Promise.race([stop, running.broken]).catch(async (error: unknown) => {
      await running.stop();
      throw error;
    });
    logger.info({ drainMs: settings.drainMs }, 'stopping: attempts in progress may end');
    await running.stop();
    logger.info('stopped');
  } finally {
    await functions?.close();
  }
}

function bannerOf(role: Role, running: Running, { resources }: Settings): string {
  const { ingressUrl, adminUrl, statuses } = running;
  const readsResources = role === 'serve' || role === 'controller';
  return banner({
    version: packageVersion(),
    role,
    ...(ingressUrl !== undefined && { ingressUrl }),
    adminUrl,
    ...(readsResources && { resources }),
    statuses: statuses(),
  });
}
