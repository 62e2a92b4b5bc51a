/**
 * A recorder for requests of real senders: keeps the bytes of each request as they came, and answers 202.
 *
 *   node test/e2e/senders/record.ts FOLDER [PORT]      at 127.0.0.1, port 8080 unless said; until Ctrl-C
 *
 * What is posted to `/senders/NAME` becomes `FOLDER/NAME.http`. Nothing is parsed but what tells where a request ends:
 * a parser would repair or reject just what the recordings are for. How the ones beside this file were made stands in
 * `README.md`.
 */
import { writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';

const [folder, port = '8080'] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: record.ts FOLDER [PORT]');

createServer((socket) => serve(socket, folder)).listen(Number(port), '127.0.0.1', () => {
  console.log(`records at http://127.0.0.1:${port}/senders/NAME into ${folder}`);
});

function serve(socket: Socket, into: string): void {
  let pending = Buffer.alloc(0);
  let isAwaited = false;
  socket.on('error', (error) => console.error(error.message));
  socket.on('data', (bytes) => {
    pending = Buffer.concat([pending, bytes]);
    const headEnd = pending.indexOf('\r\n\r\n') + 4;
    if (headEnd < 4) return;
    const head = pending.toString('latin1', 0, headEnd);
    if (/^expect: *100-continue/im.test(head) && !isAwaited) {
      isAwaited = true;
      socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    }
    const end = endOf(pending, head);
    if (end === undefined) return;
    keep(into, pending.subarray(0, end));
    pending = pending.subarray(end);
    isAwaited = false;
    socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n');
  });
}

/** Where the request ends; `undefined` while some of it is missing. */
function endOf(bytes: Buffer, head: string): number | undefined {
  if (/^transfer-encoding: *chunked/im.test(head)) {
    const last = bytes.indexOf('\r\n0\r\n\r\n', head.length - 2);
    return last < 0 ? undefined : last + '\r\n0\r\n\r\n'.length;
  }
  const end = head.length + Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  return bytes.length < end ? undefined : end;
}

function keep(into: string, request: Buffer): void {
  const name = /^POST \/senders\/([a-z0-9.-]+) /.exec(request.toString('latin1'))?.[1];
  if (name === undefined) throw new Error('a request to somewhere else than /senders/NAME');
  writeFileSync(join(into, `${name}.http`), request);
  console.log(`${name}: ${String(request.length)} bytes`);
}
