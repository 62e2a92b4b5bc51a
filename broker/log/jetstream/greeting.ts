/**
 * What a NATS server says first, before it is shown anything. It is asked by hand, because the client library leaves a socket open
 * for each server that takes a connection and stays silent, and says nothing of some refusals.
 */
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

import { KnearError } from '../../../core/errors.ts';
import { isCertificateRefusal } from './faults.ts';

/** A round trip or two; a server that is frozen, or a network that drops everything, never answers. */
const WAIT_MS = 5_000;
/** What a server says of itself is half a kilobyte, and some more for each other one in its cluster. */
const GREETING_MAX_BYTES = 64 * 1024;
const DEFAULT_PORT = 4_222;

interface Asked {
  /** `nats://host:port` or `tls://host:port` */
  readonly url: string;
  readonly signal: AbortSignal;
}

/** Resolves when a NATS server answers. @throws KNEAR_NATS_AWAY, KNEAR_NATS_UNSUITABLE, or what Node.js says */
export async function expectGreeting(asked: Asked): Promise<void> {
  await withGreeting(asked, () => Promise.resolve());
}

/**
 * The alert by which a server refuses the certificate, or that there is none; `undefined`: it does not. In TLS 1.3 it comes after
 * what a client takes for the end of the handshake, and the client library does not tell of it.
 */
export async function certificateRefusal(
  asked: Asked,
  certificates: Pick<ConnectionOptions, 'ca' | 'cert' | 'key'>,
): Promise<Error | undefined> {
  return withGreeting(asked, async (socket, greeting) => {
    if (!/"tls_(required|available)":\s*true/.test(greeting)) return undefined;
    const { host } = placeOf(asked.url);
    const servername = isIP(host) ? '' : host;
    const secured = connectTls({ ...certificates, socket, servername, rejectUnauthorized: true });
    const ended = await new Promise<Error | undefined>((resolve) => {
      const onEnd = () => {
        resolve(undefined);
      };
      secured.once('error', resolve).once('close', onEnd);
      socket.once('timeout', onEnd);
    });
    return isCertificateRefusal(ended) ? ended : undefined;
  });
}

async function withGreeting<Value>(
  { url, signal }: Asked,
  use: (socket: Socket, greeting: string) => Promise<Value>,
): Promise<Value> {
  const socket = connect({ ...placeOf(url), timeout: WAIT_MS, signal });
  // Whoever waits listens for itself; what comes when nobody does is of no interest.
  socket.on('error', () => undefined);
  try {
    return await use(socket, await greetingFrom(socket, url));
  } finally {
    socket.destroy();
  }
}

function placeOf(url: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || DEFAULT_PORT) };
}

/** Source: NATS documentation, "Client protocol": the server begins with one line, INFO and JSON. */
function greetingFrom(socket: Socket, url: string): Promise<string> {
  const seconds = String(WAIT_MS / 1_000);
  const silent = `The NATS server ${url} takes a connection and is silent for ${seconds} s: look at it, or at what is in between`;
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (data: Buffer) => {
      text += data.toString('latin1');
      const isWhole = text.includes('\r\n') || text.length > GREETING_MAX_BYTES;
      if (!isWhole && 'INFO '.startsWith(text.slice(0, 5))) return;
      // Else the handshake would be read here.
      socket.off('data', onData);
      if (/^INFO \{.*\}\s*\r\n/.test(text)) {
        resolve(text);
      } else {
        const detail = `What answers at ${url} is no NATS server: look at host and port (nats)`;
        reject(new KnearError('KNEAR_NATS_UNSUITABLE', detail));
      }
    };
    socket.on('data', onData).once('error', reject);
    socket.once('timeout', () => {
      reject(new KnearError('KNEAR_NATS_AWAY', silent));
    });
    socket.once('close', () => {
      const detail = `The NATS server ${url} hangs up at once: look at its log`;
      reject(new KnearError('KNEAR_NATS_AWAY', detail));
    });
  });
}
