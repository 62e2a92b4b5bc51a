/** `knear serve` as a child process, as a user would start it, and its metrics. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const ENTRY = join(import.meta.dirname, '../../../main/knear.js');

/** As `--places` wants them: this one process hosts a dispatcher on each of the three nodes. */
const PLACES = 'zone-a/node-1,zone-a/node-2,zone-b/node-3';

export type Hops = 'off' | 'chain';

export interface Serving {
  readonly url: string;
  readonly adminUrl: string;
  metrics(): Promise<readonly Sample[]>;
  /** SIGTERM; resolves when it has ended. */
  stop(): Promise<void>;
}

/** One line of `/metrics`. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Resolves when it takes events. @throws when it ends instead, with what it said */
export async function startServing(
  folder: string,
  { hops }: { readonly hops: Hops },
): Promise<Serving> {
  const flags = {
    '--resources': join(folder, 'resources'),
    '--data': join(folder, 'data'),
    '--port': '0',
    '--admin-port': '0',
    '--log-level': 'warn',
    '--places': PLACES,
    '--local-hop': hops,
  };
  const args = [ENTRY, 'serve', ...Object.entries(flags).flat()];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const killed = () => void child.kill('SIGKILL');
  process.once('exit', killed);
  const ended = once(child, 'exit').then(() => process.off('exit', killed));
  let printed = '';
  const banner = new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (/^Served:/m.test((printed += text))) resolve();
    });
    void ended.then(() => reject(new Error(`knear has ended at its start: ${printed}`)));
  });
  await banner;
  const url = /takes events at (\S+)$/m.exec(printed)?.[1] ?? '';
  const adminUrl = /^metrics +(\S+)\/metrics$/m.exec(printed)?.[1] ?? '';
  return {
    url,
    adminUrl,
    async metrics() {
      const response = await fetch(`${adminUrl}/metrics`);
      return readSamples(await response.text());
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

function readSamples(page: string): Sample[] {
  return page.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined) return [];
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', text = '']) => [
      key,
      text,
    ]);
    // Pairs of texts.
    const named = Object.fromEntries(pairs) as Sample['labels'];
    return [{ name, labels: named, value: Number(value) }];
  });
}

/** What has come to the counters between two looks. */
export function sinceThen(before: readonly Sample[], now: readonly Sample[]): Sample[] {
  const key = ({ name, labels }: Sample) => `${name} ${JSON.stringify(labels)}`;
  const old = new Map(before.map((each) => [key(each), each.value]));
  return now.map((each) => ({ ...each, value: each.value - (old.get(key(each)) ?? 0) }));
}
