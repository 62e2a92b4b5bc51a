/** `knear serve` on the command line: flags, banner, sample functions, the end by a signal. */
import { Option } from 'commander';
import { banner } from '../banner.ts';
import { openSampleFunctions } from '../sample-functions.ts';
import type { Running } from '../serve.ts';
import { packageVersion, readSettings, type Settings, type SettingSources } from '../settings.ts';
import { flagOf, SETTING_NAMES, SETTINGS, type SettingRow } from '../settings-table.ts';
import type { AddCommand, Terminal } from './command.ts';

export const addServe: AddCommand = (program, { terminal }) => {
  const serve = program
    .command('serve')
    .description(
      'Takes events for the Brokers and Channels in a folder of YAML files and delivers them, until SIGTERM or Ctrl-C.\n' +
        'Each flag is also an environment variable (--admin-port: KNEAR_ADMIN_PORT) and a key of the settings file ' +
        '(adminPort); a flag goes before a variable, a variable before the file.',
    )
    .action((flags: SettingSources['flags'] & object) => serveUntilStopped(flags, terminal));
  for (const option of settingOptions()) serve.addOption(option);
  return serve;
};

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

async function serveUntilStopped(
  flags: NonNullable<SettingSources['flags']>,
  terminal: Terminal,
): Promise<void> {
  const settings = await readSettings({ flags, env: terminal.env, cwd: terminal.cwd });
  // Before anything takes long, so that a signal during the start is not lost.
  const stop = terminal.stopAsked();
  const logger = terminal.openLogger(settings.logLevel);
  const functions = settings.hasSampleFunctions
    ? await openSampleFunctions({
        port: SAMPLE_FUNCTIONS_PORT,
        print: (line) => terminal.print(`${line}\n`),
      })
    : undefined;
  try {
    const starting = new AbortController();
    void stop.then(() => starting.abort());
    const running = await terminal
      .serve(settings, logger, { signal: starting.signal })
      .catch((error: unknown) => {
        // Asked to stop while it waited for what it stands on: nothing had begun.
        const isOurs = starting.signal.aborted && error === starting.signal.reason;
        if (!isOurs) throw error;
      });
    if (!running) return;
    terminal.print(`${bannerOf(running, settings)}\n\n`);
    await stop;
    logger.info({ drainMs: settings.drainMs }, 'stopping: attempts in progress may end');
    await running.stop();
    logger.info('stopped');
  } finally {
    await functions?.close();
  }
}

function bannerOf({ ingressUrl, adminUrl, statuses }: Running, { resources }: Settings): string {
  const version = packageVersion();
  return banner({ version, ingressUrl, adminUrl, resources, statuses: statuses() });
}
