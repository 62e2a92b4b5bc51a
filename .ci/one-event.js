/**
 * One event through the program in dist/, as a user would start it: a Broker, a Trigger, a subscriber, free ports. Ends with 0
 * when the event was answered 202, arrived as it was sent, and the program ended when it was asked to.
 */
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';

/** Far more than each of the steps takes; the last resort against waiting for ever. */
const PATIENCE_MS = 20_000;

const folder = await mkdtemp(path.join(tmpdir(), 'knear-one-event-'));
const subscriber = createServer();
let knear;
try {
  subscriber.listen(0, '127.0.0.1');
  await once(subscriber, 'listening');
  await writeFile(path.join(folder, 'resources.yaml'), resources(subscriber.address().port));
  knear = start(folder);
  const doorUrl = await within(firstMatch(knear.stdout, /takes events at (\S+)/), 'the banner');

  const arrival = once(subscriber, 'request');
  const answer = await within(send(`${doorUrl}/default/default`), 'the answer');
  assert.equal(answer.status, 202, await answer.text());

  const [request, response] = await within(arrival, 'the event');
  assert.equal(request.headers['ce-id'], 'order-1');
  assert.equal(request.headers['ce-type'], 'order.created');
  assert.equal(await text(request), '{"order":"A-1"}');
  response.writeHead(202).end();

  knear.kill('SIGTERM');
  const [code] = await within(once(knear, 'exit'), 'the end');
  assert.equal(code, 0, 'exit code after SIGTERM');
  console.log(`sent to ${doorUrl}, arrived, ended`);
} finally {
  knear?.kill('SIGKILL');
  subscriber.close();
  subscriber.closeAllConnections();
  await rm(folder, { recursive: true, force: true });
}

function start(home) {
  const program = path.join(import.meta.dirname, '../dist/main/knear.js');
  const flags = ['--resources', home, '--data', path.join(home, 'data')];
  return spawn(process.execPath, [program, 'serve', ...flags, '--port', '0', '--admin-port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

function send(url) {
  return fetch(url, {
    method: 'POST',
    headers: {
      'ce-specversion': '1.0',
      'ce-id': 'order-1',
      'ce-source': '/shop',
      'ce-type': 'order.created',
      'content-type': 'application/json',
    },
    body: '{"order":"A-1"}',
  });
}

function resources(port) {
  return `
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: { name: default }
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: { name: orders }
spec:
  broker: default
  filters:
    - exact: { type: order.created }
  subscriber: { uri: 'http://127.0.0.1:${port}/' }
`;
}

/** What the first line that fits has in brackets. */
async function firstMatch(stream, pattern) {
  let seen = '';
  for await (const chunk of stream) {
    seen += String(chunk);
    const found = pattern.exec(seen)?.[1];
    if (found !== undefined) return found;
  }
  throw new Error(`the program ended after: ${seen}`);
}

async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(reject, PATIENCE_MS, new Error(`${what} did not come in time`));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
