/** What curl writes. See README.md beside the recordings. */
import { spawnSync } from 'node:child_process';
import { CURL_COMMANDS } from '../curl.ts';

for (const { name, args } of CURL_COMMANDS) {
  const { status, stderr } = spawnSync(
    'curl',
    ['-sS', `http://127.0.0.1:8080/senders/${name}`, ...args],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
}
