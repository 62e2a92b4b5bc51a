import { describe, expect, test } from '@jest/globals';
import { GROUPS, parseOptions } from '../../bench/options.ts';

describe('the command line of the bench', () => {
  test('runs everything by default', () => {
    expect(parseOptions([])).toEqual({
      groups: GROUPS,
      ms: 2_000,
      rounds: 3,
      records: 1_000_000,
      engine: 'embedded',
      name: 'latest',
    });
  });

  test('takes one of the engines that there are', () => {
    expect(parseOptions(['--engine', 'jetstream']).engine).toBe('jetstream');
    expect(() => parseOptions(['--engine', 'kafka'])).toThrow('--engine is one of embedded,');
  });

  test('takes groups in any order and runs them in ours', () => {
    const { groups } = parseOptions(['--only', 'chain, throughput']);
    expect(groups).toEqual(['throughput', 'chain']);
  });

  test('runs the rows of large payloads by name', () => {
    const { groups } = parseOptions(['--only', 'inline,memory,large']);
    expect(groups).toEqual(['large', 'memory', 'inline']);
  });

  test('takes fractions of a second', () => {
    expect(parseOptions(['--seconds', '0.5']).ms).toBe(500);
  });

  test.each([
    { name: 'an unknown group', args: ['--only', 'speed'], says: '"speed"' },
    { name: 'no time', args: ['--seconds', '0'], says: '--seconds' },
    { name: 'a time that is no number', args: ['--seconds', 'long'], says: '--seconds' },
    { name: 'half a round', args: ['--rounds', '1.5'], says: '--rounds' },
    { name: 'negative records', args: ['--records=-1'], says: '--records' },
    { name: 'a name that leads elsewhere', args: ['--name', '../secret'], says: '--name' },
    { name: 'an unknown option', args: ['--fast'], says: '--fast' },
    { name: 'a word too many', args: ['throughput'], says: 'throughput' },
  ])('refuses $name and says so', ({ args, says }) => {
    expect(() => parseOptions(args)).toThrow(says);
  });
});
