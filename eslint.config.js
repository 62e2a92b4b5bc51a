// A dozen rules that catch what tests do not: promises nobody waits for, switches that miss a case,
// values thrown that are not errors, time and chance read outside their port.
import tseslint from 'typescript-eslint';

const timeAndChance = [
  { object: 'Date', property: 'now' },
  { object: 'performance', property: 'now' },
  { object: 'Math', property: 'random' },
  { object: 'AbortSignal', property: 'timeout' },
].map((rule) => ({ ...rule, message: 'Take a Clock or a Random (core/ports/time.ts).' }));

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.cache/', '.knear/', 'bench/results/', '**/*.js'] },
  {
    files: ['**/*.ts'],
    plugins: { '@typescript-eslint': tseslint.plugin },
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-unnecessary-type-assertion': 'error',
      'no-console': 'error',
      eqeqeq: 'error',
      'no-restricted-properties': ['error', ...timeAndChance],
      'no-restricted-globals': ['error', 'setTimeout', 'setInterval', 'setImmediate'],
    },
  },
  {
    // The only home of real time; and programs that talk to people or measure.
    files: [
      'main/time.ts',
      'main/knear.ts',
      'main/commands/**',
      'main/sample-functions.ts',
      'bench/**',
      'config/samples/**',
      'test/**',
    ],
    rules: {
      'no-console': 'off',
      'no-restricted-properties': 'off',
      'no-restricted-globals': 'off',
    },
  },
);
