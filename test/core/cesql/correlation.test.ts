/**
 * KN_VERIFY_CORRELATION_ID with ids that are made as RequestReply of Knative makes them: `id:Base64:number`, where the
 * middle is nonce, sealed id and tag in the URL alphabet with padding (Knative Eventing, pkg/requestreply).
 */
import { describe, expect, test } from '@jest/globals';
import { createCipheriv, randomBytes } from 'node:crypto';
import { compileFilter } from '../../../core/rules/filter.ts';
import type { Filter } from '../../../core/topology.ts';
import { eventWith } from '../filter-cases.ts';

const KEY = randomBytes(32);
const OLDER_KEY = randomBytes(32);
const FOREIGN_KEY = randomBytes(32);

interface Seal {
  readonly id?: string;
  /** What is sealed, if it is something else than the id. */
  readonly sealed?: string;
  readonly key?: Buffer;
  readonly number?: string;
  readonly nonceBytes?: number;
}

function replyId({
  id = '42',
  sealed = id,
  key = KEY,
  number = '0',
  nonceBytes = 12,
}: Seal): string {
  const nonce = randomBytes(nonceBytes);
  const name = `aes-${key.byteLength * 8}-gcm` as 'aes-256-gcm';
  const cipher = createCipheriv(name, key, nonce);
  const bytes = [nonce, cipher.update(sealed), cipher.final(), cipher.getAuthTag()];
  return `${id}:${toUrlAlphabet(Buffer.concat(bytes).toString('base64'))}:${number}`;
}

function toUrlAlphabet(base64: string): string {
  return base64.replaceAll('+', '-').replaceAll('/', '_');
}

const NAMES = `"replies", "shop", "request-reply-keys"`;
const CALL = `KN_VERIFY_CORRELATION_ID(replyid, ${NAMES}, 0, 1)`;

function passes(
  replyid: string | number | undefined,
  { expression = CALL, keys = { 'shop.replies.key-0': KEY } }: Scene = {},
): boolean {
  const filter: Filter = { kind: 'cesql', expression };
  const correlationKeys = new Map(
    Object.entries(keys).map(([name, key]) => [name, key.toString('base64')]),
  );
  const event = eventWith(replyid === undefined ? {} : { replyid });
  return compileFilter(filter, { correlationKeys })(event);
}

interface Scene {
  readonly expression?: string;
  readonly keys?: Readonly<Record<string, Buffer>>;
}

describe('a reply is verified', () => {
  test.each<[name: string, seal: Seal, scene?: Scene]>([
    ['by the one key', {}],
    [
      'by a key of 16 bytes',
      { key: KEY.subarray(0, 16) },
      { keys: { 'shop.replies.k': KEY.subarray(0, 16) } },
    ],
    [
      'by a key of 24 bytes',
      { key: KEY.subarray(0, 24) },
      { keys: { 'shop.replies.k': KEY.subarray(0, 24) } },
    ],
    [
      'by any of several keys',
      { key: OLDER_KEY },
      { keys: { 'shop.replies.key-1': KEY, 'shop.replies.key-0': OLDER_KEY } },
    ],
    [
      'beside a key that is none',
      {},
      { keys: { 'shop.replies.a': KEY.subarray(0, 7), 'shop.replies.b': KEY } },
    ],
    ['with an id of several bytes a character', { id: 'Bestellung-Ä-😀' }],
    ['with an empty id', { id: '' }],
    ['with a long id', { id: 'x'.repeat(1_000) }],
    ['when the number is its own', { number: '2' }, { expression: callFor(2, 3) }],
    ['when the number modulo the count is', { number: '7' }, { expression: callFor(1, 3) }],
    [
      'when the arguments are texts of numbers',
      {},
      { expression: `KN_VERIFY_CORRELATION_ID(replyid, ${NAMES}, "0", "1")` },
    ],
    ['when the function is written in lower case', {}, { expression: CALL.toLowerCase() }],
    [
      'when names come from expressions',
      {},
      {
        expression: `KN_VERIFY_CORRELATION_ID(replyid, CONCAT("rep", "lies"), LOWER("SHOP"), "request-reply-keys", 0, 1)`,
      },
    ],
  ])('%s', (_name, seal, scene = {}) => {
    // All remainders of Base64, so that each padding comes up.
    for (const more of ['', 'a', 'ab']) {
      expect(passes(replyId({ ...seal, id: `${seal.id ?? '42'}${more}` }), scene)).toBe(true);
    }
  });
});

describe('a reply is not verified', () => {
  const good = replyId({});
  const [id = '', base64 = '', number = ''] = good.split(':');
  const bytes = Buffer.from(base64, 'base64url');

  test.each<[name: string, replyid: string | number | undefined, scene?: Scene]>([
    ['without the attribute', undefined],
    ['when the attribute is a number', 42],
    ['when there are two parts', `${id}:${base64}`],
    ['when there are four parts', `${good}:0`],
    ['when the id has a colon', replyId({ id: 'urn:42' })],
    ['when another id was sealed', replyId({ sealed: '43' })],
    ['when more than the id was sealed', replyId({ sealed: '42 ' })],
    ['when the key is another', replyId({ key: FOREIGN_KEY })],
    ['when there are no keys', good, { keys: {} }],
    ['when the key is of another RequestReply', good, { keys: { 'shop.other.key-0': KEY } }],
    ['when the key is of another namespace', good, { keys: { 'store.replies.key-0': KEY } }],
    [
      'when the name only begins like that of the key',
      good,
      { keys: { 'shop.replies2.key-0': KEY } },
    ],
    [
      'when the key is of another RequestReply, and the name is from an expression',
      good,
      {
        expression: CALL.replace('"replies"', 'CONCAT("rep", "lies")'),
        keys: { 'shop.other.key-0': KEY },
      },
    ],
    [
      'when the key is of no AES',
      good,
      { keys: { 'shop.replies.key-0': Buffer.concat([KEY, KEY]) } },
    ],
    [
      'when the Secret is another',
      good,
      { expression: CALL.replace('request-reply-keys', 'other') },
    ],
    ['when the number is of another pod', replyId({ number: '1' }), { expression: callFor(0, 2) }],
    ['when the number is negative', replyId({ number: '-1' }), { expression: callFor(1, 2) }],
    ['when the number is none', replyId({ number: 'one' })],
    ['when the number is empty', replyId({ number: '' })],
    ['when the number has more than 32 bits', replyId({ number: '4294967296' })],
    ['when there are no pods', good, { expression: callFor(0, 0) }],
    ['when a byte is changed', `${id}:${changed(bytes, 20)}:${number}`],
    ['when a byte of the nonce is changed', `${id}:${changed(bytes, 0)}:${number}`],
    ['when a byte of the tag is changed', `${id}:${changed(bytes, -1)}:${number}`],
    ['when nothing is sealed', `${id}::${number}`],
    [
      'when there is only a nonce',
      `${id}:${toUrlAlphabet(bytes.subarray(0, 12).toString('base64'))}:0`,
    ],
    [
      'when it is shorter than a tag',
      `${id}:${toUrlAlphabet(bytes.subarray(0, 27).toString('base64'))}:0`,
    ],
    ['when the nonce is longer', replyId({ nonceBytes: 16 })],
    ['when it is no Base64', `${id}:?${base64}:${number}`],
    ['when there is a space in it', `${id}: ${base64}:${number}`],
    ['when the padding is missing', replyId({ id: '4' }).replace(/=+:/, ':')],
  ])('%s', (_name, replyid, scene = {}) => {
    expect(passes(replyid, scene)).toBe(false);
  });

  test('when the alphabet is the other one', () => {
    const letters = Array.from({ length: 100 }, () => replyId({})).filter((each) =>
      /[-_]/.test(each),
    );
    expect(letters.length).toBeGreaterThan(20);
    const other = letters.map((each) => each.replaceAll('-', '+').replaceAll('_', '/'));
    expect(other.filter((each) => passes(each))).toEqual([]);
    expect(letters.filter((each) => !passes(each))).toEqual([]);
  });

  test('and then NOT lets it pass, unless that was an error', () => {
    const not = (scene: Scene): Scene => ({
      ...scene,
      expression: `NOT ${scene.expression ?? CALL}`,
    });
    expect(passes('no id', not({}))).toBe(true);
    expect(passes(undefined, not({}))).toBe(false);
    expect(passes(good, not({ expression: callFor(0, 0) }))).toBe(false);
    expect(passes(good, not({ expression: CALL.replace('0, 1', "'x', 1") }))).toBe(false);
  });
});

function callFor(index: number, count: number): string {
  return `KN_VERIFY_CORRELATION_ID(replyid, ${NAMES}, ${index}, ${count})`;
}

function changed(bytes: Buffer, at: number): string {
  const copy = Buffer.from(bytes);
  const index = at < 0 ? copy.byteLength + at : at;
  copy[index] = (copy[index] ?? 0) ^ 1;
  return toUrlAlphabet(copy.toString('base64'));
}

test('the number is not sealed: it alone says which pod the reply is for', () => {
  const good = replyId({ number: '0' });
  expect(passes(good, { expression: callFor(0, 2) })).toBe(true);
  expect(passes(good.replace(/0$/, '1'), { expression: callFor(0, 2) })).toBe(false);
  expect(passes(good.replace(/0$/, '1'), { expression: callFor(1, 2) })).toBe(true);
});
