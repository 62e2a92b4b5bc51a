import { expect, test } from '@jest/globals';
import { closest } from '../../controller/suggest.ts';

const FIELDS = ['subscriber', 'filters', 'filter', 'deadLetterSink', 'uri', 'ref', 'spec'];

test.each([
  ['a letter missing', 'subscibe', 'subscriber'],
  ['a letter too many', 'subscribers', 'subscriber'],
  ['letters that changed places', 'spce', 'spec'],
  ['another case', 'DEADLETTERSINK', 'deadLetterSink'],
  ['a short word', 'url', 'uri'],
  ['the very word', 'filter', 'filter'],
  ['nothing like it', 'parallelism', undefined],
  ['nothing', '', undefined],
  ['an endless word', 'x'.repeat(100_000), undefined],
])('suggests what was meant: %s', (_, word, expected) => {
  expect(closest(word, FIELDS)).toBe(expected);
});
