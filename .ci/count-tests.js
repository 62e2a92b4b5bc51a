/**
 * `node .ci/count-tests.js SUMMARY EXIT_CODE`: from the JSON that Jest wrote, and the code that it ended with, prints
 * `PASSED FAILED`. What was skipped and what failed goes to stderr.
 */
import { readFileSync } from 'node:fs';

const [file, exitCode] = process.argv.slice(2);
const summary = read(file);
tell('skipped by the test itself', (status) => status !== 'passed' && status !== 'failed');
tell('failed', (status) => status === 'failed');

const passed = summary.numPassedTests;
// A suite that cannot be loaded has no tests to count.
let failed = summary.numFailedTests + summary.numRuntimeErrorTestSuites;
if (passed + failed === 0) fail('no test ran');
if (failed === 0 && exitCode !== '0') fail(`the tests passed, and npm test ended with ${exitCode}`);
process.stdout.write(`${passed} ${failed}\n`);

/** Once more, in one place: the tests that want attention. */
function tell(what, isMeant) {
  for (const { assertionResults } of summary.testResults) {
    for (const { status, fullName } of assertionResults) {
      if (isMeant(status)) process.stderr.write(`${what}: ${fullName}\n`);
    }
  }
}

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
