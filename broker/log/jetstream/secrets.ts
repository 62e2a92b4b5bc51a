/**
 * What knear shows a NATS server of itself, and by what it knows the server. All of it is in files, which are read anew at each
 * connection, so that what was replaced is used without a restart.
 *
 * Nothing of what is in a file leaves this one, but to the client for its next message to the server: errors name the file, and
 * have no cause that could quote it.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';

import {
  jwtAuthenticator,
  nkeyAuthenticator,
  nkeys,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
  type Auth,
  type Authenticator,
  type TlsOptions,
} from '@nats-io/transport-node';

import { KnearError } from '../../../core/errors.ts';
import { systemCodeOf } from './faults.ts';

/** Paths of files. */
export type NatsCredentials =
  | { readonly kind: 'password'; readonly user: string; readonly passwordFile: string }
  | { readonly kind: 'token'; readonly tokenFile: string }
  | { readonly kind: 'nkey'; readonly seedFile: string }
  | { readonly kind: 'jwt'; readonly credentialsFile: string };

/** Paths of PEM files. Certificate and key are there together. */
export interface NatsTls {
  /** Absent: the authorities that Node.js trusts. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** In PEM form. */
interface Certificates {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

interface SecretsOptions {
  /** Absent: the server asks for none, or takes the certificate. */
  readonly credentials?: NatsCredentials;
  readonly tls?: NatsTls;
  /** Whether a server without TLS is refused. */
  readonly isTlsDemanded: boolean;
}

export class Secrets {
  readonly #credentials: NatsCredentials | undefined;
  readonly #tls: NatsTls | undefined;
  readonly #isTlsDemanded: boolean;

  constructor({ credentials, tls, isTlsDemanded }: SecretsOptions) {
    this.#credentials = credentials;
    this.#tls = tls;
    this.#isTlsDemanded = isTlsDemanded;
  }

  /** What is wrong with the files as they are now: KNEAR_NATS_DENIED, with the file's name. */
  fault(): KnearError | undefined {
    try {
      authenticatorOf(this.#credentials);
      refuseBadTls(this.#tls);
      return undefined;
    } catch (error) {
      if (error instanceof KnearError) return error;
      throw error;
    }
  }

  /**
   * For one connection. With a file that cannot be used it shows nothing, and the server refuses: an authenticator that throws
   * would make the client give up for good.
   */
  readonly authenticator = (nonce?: string): Auth => {
    try {
      return authenticatorOf(this.#credentials)(nonce);
    } catch {
      return undefined; // `fault` says why
    }
  };

  /** The client reads these files itself, at each connection. `undefined`: as the server wants it. */
  get tlsOptions(): TlsOptions | undefined {
    return this.#isTlsDemanded ? { ...this.#tls } : undefined;
  }

  /** What is in the files for TLS now. @throws KNEAR_NATS_DENIED */
  certificates(): Certificates {
    const { caFile, certFile, keyFile } = this.#tls ?? {};
    return {
      ...(caFile !== undefined && { ca: textOf(caFile) }),
      ...(certFile !== undefined && { cert: textOf(certFile) }),
      ...(keyFile !== undefined && { key: textOf(keyFile) }),
    };
  }
}

/** Reads the files; what it returns signs, which takes ten milliseconds. */
function authenticatorOf(credentials: NatsCredentials | undefined): Authenticator {
  switch (credentials?.kind) {
    case undefined:
      return () => undefined;
    case 'password':
      return usernamePasswordAuthenticator(credentials.user, lineOf(credentials.passwordFile));
    case 'token':
      return tokenAuthenticator(lineOf(credentials.tokenFile));
    case 'nkey': {
      const { seedFile } = credentials;
      return nkeyAuthenticator(seedOf(seedFile, lineOf(seedFile)));
    }
    case 'jwt': {
      const { credentialsFile } = credentials;
      const { jwt, seed } = partsOf(credentialsFile);
      return jwtAuthenticator(jwt, seedOf(credentialsFile, seed));
    }
  }
}

/** All that is in a file, but for the line end that editors add. */
function lineOf(file: string): string {
  const line = textOf(file).replace(/\r?\n$/, '');
  if (line === '') throw unusable(file, 'is empty');
  if (/[\r\n]/.test(line)) throw unusable(file, 'has more than one line');
  return line;
}

/** Source: NATS documentation, "Decentralized JWT authentication": two blocks between lines of dashes. */
function partsOf(file: string): { readonly jwt: string; readonly seed: string } {
  const blocks = [...textOf(file).matchAll(/^-{3,}BEGIN[^\n]*-{3,}\s+([^\s-][\w.=-]*)\s+-{3,}/gm)];
  const [jwt, seed] = blocks.map(([, text]) => text);
  if (jwt === undefined || seed === undefined) {
    throw unusable(file, 'is no .creds file: it needs a block with a JWT and one with its seed');
  }
  return { jwt, seed };
}

function seedOf(file: string, text: string): Uint8Array {
  const seed = new TextEncoder().encode(text);
  refuse(file, 'has no valid NKey seed', () => nkeys.fromSeed(seed));
  if (!text.startsWith('SU')) {
    throw unusable(file, 'has an NKey seed that is not that of a user (SU...)');
  }
  return seed;
}

function refuseBadTls({ caFile, certFile, keyFile }: NatsTls = {}): void {
  if (caFile !== undefined) {
    const ca = textOf(caFile);
    refuse(caFile, 'has no certificate in PEM form', () => new X509Certificate(ca));
  }
  if (certFile === undefined || keyFile === undefined) return;
  const [cert, key] = [textOf(certFile), textOf(keyFile)];
  refuse(certFile, 'has no certificate in PEM form', () => new X509Certificate(cert));
  refuse(keyFile, 'has no private key in PEM form', () => createSecureContext({ key }));
  refuse(keyFile, `does not belong to ${certFile}`, () => createSecureContext({ cert, key }));
}

/** Without the cause, which is of no use to whoever reads it and may be about what is in the file. */
function refuse(file: string, why: string, tryIt: () => unknown): void {
  try {
    tryIt();
  } catch {
    throw unusable(file, why);
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw unusable(file, `cannot be read (${systemCodeOf(error)})`);
  }
}

function unusable(file: string, why: string): KnearError {
  return new KnearError('KNEAR_NATS_DENIED', `The file ${file} ${why}: mend it, it is read again`);
}
