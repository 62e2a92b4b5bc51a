/**
 * KN_VERIFY_CORRELATION_ID(reply id, name, namespace, secret, pod index, pod count): whether an event is the reply to a
 * request that a RequestReply resource of this name sent from its pod of this index. RequestReply asks this in the filters
 * of the Triggers that it makes on the Broker.
 *
 * A reply id has three parts between colons:
 *
 *   <id of the request> : <Base64, URL alphabet, padded: nonce (12 bytes), sealed id, tag (16 bytes)> : <number>
 *
 * The number modulo the count of pods is the index. The id is sealed with AES-GCM, without additional data, by one of the
 * keys that the Secret has under names which begin with `<namespace>.<name>.`; any key that opens it will do.
 *
 * Source: Knative Eventing, pkg/requestreply (the function and how ids are made) and pkg/reconciler/requestreply (the
 * expression of the Triggers).
 */
import { createCipheriv, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { FilterContext } from '../dialect.ts';
import { integerOf } from './casts.ts';
import { asInteger, asText, boolean, literal, type Compiled } from './compiled.ts';

/** The Secret whose keys a Topology has. Any other name is that of a Secret which is not there: nothing is verified. */
export const SECRET_NAME = 'request-reply-keys';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CIPHERS = { 16: 'aes-128-gcm', 24: 'aes-192-gcm', 32: 'aes-256-gcm' } as const;

/** With its padding, and nothing between: Buffer alone would pass over what is no Base64. */
const BASE64_URL = /^(?:[\w-]{4})*(?:[\w-]{2}==|[\w-]{3}=)?$/;

interface Key {
  readonly name: string;
  /** Imported once, which takes longer than to seal an id with it. */
  readonly secret: KeyObject;
  readonly cipher: (typeof CIPHERS)[keyof typeof CIPHERS];
}

/** False is whatever cannot be verified. An error is what makes any argument one, and no pods at all. */
export function compileVerification(
  [replyId, name, namespace, secret, index, count]: readonly Compiled[],
  { correlationKeys }: FilterContext,
): Compiled {
  const texts = [replyId, name, namespace, secret].map((each) => asText(each ?? NONE));
  const [replyIdOf, nameOf, namespaceOf, secretOf] = texts;
  const [indexOf, countOf] = [index, count].map((each) => asInteger(each ?? NONE));
  const isFixed = name?.constant !== undefined && namespace?.constant !== undefined;
  const keys = keysOf(
    correlationKeys,
    isFixed ? prefixOf(`${namespace.constant}`, `${name.constant}`) : '',
  );
  return boolean((event) => {
    const reply = replyIdOf?.(event);
    const ownName = nameOf?.(event);
    const ownNamespace = namespaceOf?.(event);
    if (reply === undefined || ownName === undefined || ownNamespace === undefined)
      return undefined;
    const secretName = secretOf?.(event);
    const podIndex = indexOf?.(event);
    const podCount = countOf?.(event);
    if (secretName === undefined || podIndex === undefined || !podCount) return undefined;
    const parts = partsOf(reply);
    if (parts === undefined || parts.number % podCount !== podIndex) return false;
    if (secretName !== SECRET_NAME) return false;
    const sealed = sealedOf(parts);
    const prefix = prefixOf(ownNamespace, ownName);
    return keys.some((key) => key.name.startsWith(prefix) && isSealedBy(key, parts.id, sealed));
  });
}

function prefixOf(namespace: string, name: string): string {
  return `${namespace}.${name}.`;
}

/** Stands for an argument that is not there, which the number of arguments rules out. */
const NONE = literal('');

/** Those that may be asked for. What is no AES key opens nothing, so it is left out. */
function keysOf(keys: FilterContext['correlationKeys'], prefix: string): Key[] {
  return [...keys].flatMap(([name, base64]) => {
    if (!name.startsWith(prefix)) return [];
    const bytes = Buffer.from(base64, 'base64');
    const length = bytes.byteLength;
    if (length !== 16 && length !== 24 && length !== 32) return [];
    return [{ name, secret: createSecretKey(bytes), cipher: CIPHERS[length] }];
  });
}

interface ReplyId {
  readonly id: string;
  readonly base64: string;
  readonly number: number;
}

function partsOf(replyId: string): ReplyId | undefined {
  const [id, base64, digits, ...more] = replyId.split(':', 4);
  if (id === undefined || base64 === undefined || digits === undefined) return undefined;
  const number = integerOf(digits);
  return number === undefined || more.length > 0 ? undefined : { id, base64, number };
}

/** Empty if it is none, and then too short for any key. */
function sealedOf({ base64 }: ReplyId): Buffer {
  return Buffer.from(BASE64_URL.test(base64) ? base64 : '', 'base64url');
}

/**
 * Whether the key opens the bytes to be the id. Found by sealing the id again with the same nonce, which gives the same
 * bytes only then: to open what was sealed by another key throws, and costs several times as much.
 */
function isSealedBy({ secret, cipher: name }: Key, id: string, sealed: Buffer): boolean {
  if (sealed.byteLength !== NONCE_BYTES + Buffer.byteLength(id) + TAG_BYTES) return false;
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const cipher = createCipheriv(name, secret, nonce, { authTagLength: TAG_BYTES });
  const again = [nonce, cipher.update(id, 'utf8'), cipher.final(), cipher.getAuthTag()];
  return timingSafeEqual(Buffer.concat(again), sealed);
}
