/** The settings of a log on NATS JetStream, which are there all together or not at all. */
import type { NatsCredentials, NatsTls } from '../broker/log/jetstream/secrets.ts';
import {
  durabilityOf,
  invalid,
  isGiven,
  numberOf,
  pathOf,
  textOf,
  type Values,
} from './setting-values.ts';
import { rangeOf } from './setting-ranges.ts';
import { flagOf, SETTING_NAMES, type NatsDurability, type SettingName } from './settings-table.ts';

/** Absolute files, bytes. Secrets are in the files only. */
export interface NatsSettings {
  /** `nats://host:port` or `tls://host:port`, without user and path. */
  readonly servers: readonly string[];
  readonly prefix: string;
  /** Absent: the server asks for none, or takes the certificate. */
  readonly credentials?: NatsCredentials;
  /** Absent: no file was named; TLS is used where a URL demands it or the server does. */
  readonly tls?: NatsTls;
  readonly durability: NatsDurability;
  readonly streamMaxBytes: number;
}

/**
 * `undefined`: the log is the embedded one.
 * @throws KNEAR_SETTING_INVALID, also for values that are fine alone and wrong together; never with a secret in it.
 */
export function natsOf(values: Values): NatsSettings | undefined {
  if (!values.has('nats')) {
    for (const name of SETTING_NAMES) {
      if (name.startsWith('nats') && isGiven(name, values)) {
        throw wrong(
          name,
          values,
          `needs ${flagOf('nats')}: without it, the log is the embedded one`,
        );
      }
    }
    return undefined;
  }
  const credentials = credentialsOf(values);
  const tls = tlsOf(values);
  const streamMaxBytes = numberOf('natsStreamMax', values);
  for (const name of ['claimCheckInlineMax', 'attributesMax'] as const) {
    if (streamMaxBytes >= numberOf(name, values)) continue;
    const why = `must not be less than ${flagOf(name)}: there would be no room for one record`;
    throw wrong('natsStreamMax', values, why);
  }
  return {
    servers: serversOf(values),
    prefix: prefixOf(values),
    ...(credentials && { credentials }),
    ...(tls && { tls }),
    durability: durabilityOf('natsDurability', values),
    streamMaxBytes,
  };
}

function serversOf(values: Values): string[] {
  return textsOf('nats', values).map((text) => {
    // Before anything else, and without the text: what is left of the @ is a secret.
    if (text.includes('@')) {
      const files = `${flagOf('natsUser')} with ${flagOf('natsPasswordFile')}, ${flagOf('natsTokenFile')}, ${flagOf('natsNkeyFile')} or ${flagOf('natsCredentialsFile')}`;
      const why = `must not contain a user, password or token, since URLs are logged: name a file (${files})`;
      throw wrong('nats', values, why);
    }
    const url = URL.parse(text);
    const isKnown = url?.protocol === 'nats:' || url?.protocol === 'tls:';
    const isBare = /^\/?$/.test(url?.pathname ?? '') && url?.search === '' && url.hash === '';
    // Nothing else is a host to the client, which would take a wrong one for a path of its own.
    if (!isKnown || !isBare || !/^([\w.-]+|\[[\da-f:.]+\])$/i.test(url.hostname)) {
      throw wrong('nats', values, `must be ${rangeOf('nats')}, such as nats://localhost:4222`);
    }
    return `${url.protocol}//${url.host}`;
  });
}

function textsOf(name: SettingName, values: Values): string[] {
  return (values.get(name)?.text ?? '').split(',').map((text) => text.trim());
}

function prefixOf(values: Values): string {
  const prefix = textOf('natsPrefix', values);
  if (!/^[a-z\d-]{1,16}$/.test(prefix)) {
    throw invalid(`${fromOf('natsPrefix', values)} ${prefix}`, `must be ${rangeOf('natsPrefix')}`);
  }
  return prefix;
}

/** Each by the setting that stands for it in messages. */
const WAYS = ['natsUser', 'natsTokenFile', 'natsNkeyFile', 'natsCredentialsFile'] as const;

function credentialsOf(values: Values): NatsCredentials | undefined {
  refuseHalf(['natsUser', 'natsPasswordFile'], values);
  const [way, other] = WAYS.filter((name) => values.has(name));
  if (way === undefined) return undefined;
  if (other !== undefined) {
    throw wrong(
      other,
      values,
      `must not be given together with ${flagOf(way)}: one of them is used`,
    );
  }
  const file = (name: SettingName) => pathOf(name, values) ?? '';
  switch (way) {
    case 'natsUser':
      return {
        kind: 'password',
        user: textOf('natsUser', values),
        passwordFile: file('natsPasswordFile'),
      };
    case 'natsTokenFile':
      return { kind: 'token', tokenFile: file(way) };
    case 'natsNkeyFile':
      return { kind: 'nkey', seedFile: file(way) };
    case 'natsCredentialsFile':
      return { kind: 'jwt', credentialsFile: file(way) };
  }
}

function tlsOf(values: Values): NatsTls | undefined {
  refuseHalf(['natsCertFile', 'natsKeyFile'], values);
  const caFile = pathOf('natsCaFile', values);
  const certFile = pathOf('natsCertFile', values);
  const keyFile = pathOf('natsKeyFile', values);
  if (caFile === undefined && certFile === undefined) return undefined;
  return {
    ...(caFile !== undefined && { caFile }),
    ...(certFile !== undefined && keyFile !== undefined && { certFile, keyFile }),
  };
}

/** Both, or none. */
function refuseHalf([one, other]: readonly [SettingName, SettingName], values: Values): void {
  if (values.has(one) === values.has(other)) return;
  const [given, missing] = values.has(one) ? [one, other] : [other, one];
  throw wrong(given, values, `needs ${flagOf(missing)} as well`);
}

/** Without the value. */
function wrong(name: SettingName, values: Values, why: string) {
  return invalid(fromOf(name, values), why);
}

function fromOf(name: SettingName, values: Values): string {
  return values.get(name)?.from ?? name;
}
