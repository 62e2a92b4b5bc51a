/** Who a NATS server and its users are: a chain of JWTs as an operator signs them, and certificates of an authority of our own. */
import { nkeys } from '@nats-io/transport-node';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generate } from 'selfsigned';

/** A pair of keys, and the public one as text, which takes a while to find. */
interface Identity {
  readonly id: string;
  readonly keys: ReturnType<typeof nkeys.createUser>;
}

function identityOf(keys: Identity['keys']): Identity {
  return { id: keys.getPublicKey(), keys };
}

/** Users of an account of one operator. */
export interface Chain {
  /** For the server's configuration. */
  readonly config: string;
  /** A .creds file. */
  credentials(options?: { readonly expiresAtS?: number }): string;
  /** The same, by an account that the server does not know. */
  foreignCredentials(): string;
}

/** Which limits the account has beside JetStream without any. Source: nats-io/jwt, v2, OperatorLimits. */
export interface ChainOptions {
  readonly jetStream?: object;
}

const NO_LIMITS = {
  subs: -1,
  data: -1,
  payload: -1,
  imports: -1,
  exports: -1,
  wildcards: true,
  conn: -1,
  leaf: -1,
};
const ALL_OF_JETSTREAM = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

export function openChain({ jetStream = ALL_OF_JETSTREAM }: ChainOptions = {}): Chain {
  const operator = identityOf(nkeys.createOperator());
  const system = identityOf(nkeys.createAccount());
  const account = identityOf(nkeys.createAccount());
  const accountJwt = (of: Identity, limits: object) =>
    sign({ type: 'account', of, by: operator, more: { limits } });
  const nowS = Math.floor(Date.now() / 1000);
  const operatorJwt = sign({
    type: 'operator',
    of: operator,
    by: operator,
    more: { system_account: system.id },
  });
  return {
    config: [
      `operator: ${operatorJwt}`,
      `system_account: ${system.id}`,
      'resolver: MEMORY',
      'resolver_preload: {',
      `  ${system.id}: ${accountJwt(system, NO_LIMITS)}`,
      `  ${account.id}: ${accountJwt(account, { ...NO_LIMITS, ...jetStream })}`,
      '}',
    ].join('\n'),
    credentials: ({ expiresAtS = nowS + 3600 } = {}) => credentialsOf(account, expiresAtS),
    foreignCredentials: () => credentialsOf(identityOf(nkeys.createAccount()), nowS + 3600),
  };
}

function credentialsOf(account: Identity, expiresAtS: number): string {
  const user = identityOf(nkeys.createUser());
  const more = { pub: {}, sub: {}, subs: -1, data: -1, payload: -1 };
  const jwt = sign({ type: 'user', of: user, by: account, more, expiresAtS });
  const seed = new TextDecoder().decode(user.keys.getSeed());
  return [
    '-----BEGIN NATS USER JWT-----',
    jwt,
    '------END NATS USER JWT------',
    '',
    '************************* IMPORTANT *************************',
    'NKEY Seed printed below can be used to sign and prove identity.',
    '',
    '-----BEGIN USER NKEY SEED-----',
    seed,
    '------END USER NKEY SEED------',
    '',
  ].join('\n');
}

interface Claims {
  readonly type: 'operator' | 'account' | 'user';
  readonly of: Identity;
  readonly by: Identity;
  readonly more: object;
  readonly expiresAtS?: number;
}

/** Source: nats-io/jwt, v2: the signature is over the first two parts, as they are in the text. */
function sign({ type, of, by, more, expiresAtS }: Claims): string {
  const claims = {
    iat: Math.floor(Date.now() / 1000) - 60,
    ...(expiresAtS !== undefined && { exp: expiresAtS }),
    iss: by.id,
    name: type,
    sub: of.id,
    nats: { ...more, type, version: 2 },
  };
  const start = `${partOf({ typ: 'JWT', alg: 'ed25519-nkey' })}.${partOf(claims)}`;
  const signature = by.keys.sign(new TextEncoder().encode(start));
  return `${start}.${Buffer.from(signature).toString('base64url')}`;
}

function partOf(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

interface PairFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Paths. */
export interface CertificateFiles {
  readonly caFile: string;
  /** For a server of another name. */
  readonly elsewhere: PairFiles;
  /** By an authority that has nothing to do with the others. */
  readonly otherCaFile: string;
  readonly server: PairFiles;
  readonly client: PairFiles;
  /** By the other authority. */
  readonly otherClient: PairFiles;
}

/** Writes certificates for a server on localhost, and for its clients. */
export async function writeCertificates(folder: string): Promise<CertificateFiles> {
  const write = (name: string, text: string) => {
    const file = join(folder, name);
    writeFileSync(file, text);
    return file;
  };
  const authority = (name: string) =>
    generate([{ name: 'commonName', value: name }], {
      keyType: 'ec',
      algorithm: 'sha256',
      extensions: [
        { name: 'basicConstraints', cA: true, critical: true },
        { name: 'keyUsage', keyCertSign: true, cRLSign: true, digitalSignature: true },
      ],
    });
  const pair = async (
    name: string,
    ca: Awaited<ReturnType<typeof authority>>,
    host = 'localhost',
  ) => {
    const made = await generate([{ name: 'commonName', value: name }], {
      keyType: 'ec',
      algorithm: 'sha256',
      ca: { key: ca.private, cert: ca.cert },
      extensions: [
        { name: 'basicConstraints', cA: false },
        { name: 'keyUsage', digitalSignature: true, keyEncipherment: true },
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        { name: 'subjectAltName', altNames: [{ type: 2, value: host }] },
      ],
    });
    return {
      certFile: write(`${name}.pem`, made.cert),
      keyFile: write(`${name}-key.pem`, made.private),
    };
  };
  const ours = await authority('Authority');
  const other = await authority('Other authority');
  return {
    caFile: write('ca.pem', ours.cert),
    otherCaFile: write('other-ca.pem', other.cert),
    server: await pair('server', ours),
    elsewhere: await pair('elsewhere', ours, 'nats.example'),
    client: await pair('client', ours),
    otherClient: await pair('other-client', other),
  };
}
