/**
 * `node .ci/count-tests.js SUMMARY EXIT_CODE`: from the JSON that Jest wrote, and the code that it ended with, prints
 * `PASSED FAILED`. What was skipped, and what went wrong beside the tests, goes to stderr.
 */
import { readFileSync } from 'node:fs';

const [file, exitCode] = process.argv.slice(2);
const summary = read(file);
const skipped = summary.testResults
  .flatMap(({ assertionResults }) => assertionResults)
  .filter(({ status }) => status !== 'passed' && status !== 'failed');
for (const { fullName } of skipped)
  process.stderr.write(`skipped by the test itself: ${fullName}\n`);

const passed = summary.numPassedTests;
// A suite that cannot be loaded has no tests to count.
let failed = summary.numFailedTests + summary.numRuntimeErrorTestSuites;
if (passed + failed === 0) fail('no test ran');
if (failed === 0 && exitCode !== '0') fail(`the tests passed, and npm test ended with ${exitCode}`);
process.stdout.write(`${passed} ${failed}\n`);

function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    process.stderr.write(`FAILED: the tests left no summary (${error.message})\n`);
    process.stdout.write('0 1\n');
    process.exit();
  }
}

function fail(why) {
  process.stderr.write(`FAILED: ${why}\n`);
  failed += 1;
}
