import { describe, expect, test } from '@jest/globals';
import { JsonCheck } from '../../core/json-check.ts';

describe('the check whether bytes are JSON', () => {
  test.each([
    ...['{}', '[]', '0', '-0.5e+10', '""', 'true', 'false', 'null', ' \t\r\n[1 , 2]\n'],
    ...['"\\ud800"', '"\\/\\b\\u00e9"', '{"a":{"b":[[],{}]},"a":1}', '"é€😀\u007f"', '1E400'],
  ])('takes %j, however it is cut (K44)', (text) => {
    expect(verdicts(Buffer.from(text))).toEqual([true]);
  });

  test.each<[string, string | Uint8Array]>([
    ['nothing', ''],
    ['blanks', ' \n'],
    ['two values', '1 2'],
    ['a value and more', '{} x'],
    ['a number that stops', '1.'],
    ['a number that is interrupted', '-\t0'],
    ['a leading zero', '01'],
    ['a plus sign', '+1'],
    ['a word that stops', 'tru'],
    ['a word that goes on', 'nulll'],
    ['an open array', '[1'],
    ['an open object', '{"a":1'],
    ['brackets that do not match', '[{]}'],
    ['a comma at the end', '[1,]'],
    ['a comma alone', '{,}'],
    ['a member without a name', '{1:2}'],
    ['a member without a value', '{"a"}'],
    ['an open string', '"a'],
    ['a raw control character', '"\n"'],
    ['a raw control character after much text', `"${'a'.repeat(300)}\u001f${'a'.repeat(300)}"`],
    ['an unknown escape', '"\\x"'],
    ['too few digits in an escape', '"\\u12"'],
    ['a byte order mark', '\ufeff1'],
    ['a blank that JSON does not know', '1\u00a0'],
    ['a byte that is no UTF-8', Buffer.from('"\xff"', 'latin1')],
    ['a character that stops', Buffer.from('"\xe2\x82"', 'latin1')],
    ['an overlong character', Buffer.from('"\xc0\xa0"', 'latin1')],
    ['half a surrogate pair as UTF-8', Buffer.from('"\xed\xa0\x80"', 'latin1')],
  ])('refuses %s, however it is cut (K44)', (_name, body) => {
    expect(verdicts(Buffer.from(body))).toEqual([false]);
  });

  test('finds every kind of byte that ends plain text, wherever it is in a long string', () => {
    for (const [character, isJson] of [
      ['"', false],
      ['\\', false],
      ['\0', false],
      ['\u001f', false],
      [' ', true],
      ['\u007f', true],
      ['ÿ', true],
      ['\\\\', true],
    ] as const) {
      for (let place = 120; place < 160; place += 1) {
        const text = `"${'a'.repeat(place)}${character}x"`;
        for (const lead of [0, 1, 2, 3]) {
          // An address of each kind, since words are read where the string is long.
          const body = Buffer.from(' '.repeat(lead) + text);
          expect([text, ofPieces([body])]).toEqual([text, isJson]);
        }
      }
    }
  });

  test('says as soon as it can that it is none, and stays with it', () => {
    const check = new JsonCheck();
    const pieces = ['[1, ', '"a', '\n', '"]', ''].map((text) => Buffer.from(text));
    const canBe = pieces.map((piece) => check.push(piece));
    expect([...canBe, check.finish()]).toEqual([true, true, false, false, false, false]);
  });

  test.each([
    [10_000, true],
    [10_001, false],
  ])('of %i levels says %s', (depth, isJson) => {
    const open = '[{"a":'.repeat(depth / 2) + '['.repeat(depth % 2);
    const body = Buffer.from(`${open}1${']'.repeat(depth % 2)}${'}]'.repeat(depth / 2)}`);
    expect(ofPieces(cutEvery(body, 999))).toBe(isJson);
  });

  test('keeps kinds of brackets apart at any depth', () => {
    const kinds = Array.from({ length: 200 }, (_, level) => (level * 7) % 3 === 0);
    const open = kinds.map((isObject) => (isObject ? '{"a":' : '[')).join('');
    const close = kinds.toReversed().map((isObject) => (isObject ? '}' : ']'));
    expect(ofPieces([Buffer.from(`${open}1${close.join('')}`)])).toBe(true);
    for (const level of close.keys()) {
      const wrong = close.with(level, close[level] === ']' ? '}' : ']').join('');
      expect(ofPieces([Buffer.from(`${open}1${wrong}`)])).toBe(false);
    }
  });
});

/** What is said of it, in one piece and in pieces of one to seven bytes: each answer once. */
function verdicts(body: Buffer): boolean[] {
  const answers = [1, 2, 3, 7].map((sizeBytes) => ofPieces(cutEvery(body, sizeBytes)));
  return [...new Set([ofPieces([body]), ...answers])];
}

function cutEvery(body: Buffer, sizeBytes: number): Buffer[] {
  const count = Math.ceil(body.length / sizeBytes);
  return Array.from({ length: count }, (_, index) =>
    body.subarray(index * sizeBytes, (index + 1) * sizeBytes),
  );
}

function ofPieces(pieces: readonly Buffer[]): boolean {
  const check = new JsonCheck();
  for (const piece of pieces) check.push(piece);
  return check.finish();
}
