import { availableParallelism } from 'node:os';

export default {
  // The real servers that some tests talk to: built when they are not there, which is once.
  globalSetup: '<rootDir>/test/servers/build.js',
  testEnvironment: 'node',
  injectGlobals: false,
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2023' }, module: { type: 'es6' } },
    ],
  },
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/.cache/', '<rootDir>/dist/'],
  // Tests of programs and servers mostly wait for them. Jest's own choice on two cores is one at a time.
  maxWorkers: Math.max(2, availableParallelism() - 1),
  testTimeout: 30_000,
  restoreMocks: true,
};
