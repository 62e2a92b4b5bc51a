#!/usr/bin/env node
/**
 * The `knear` command: starts main/knear.ts, or its compiled form, with a Node.js that can run it.
 *
 * This file itself runs on any Node.js from 12 on, as an ES module or, where `"type": "module"` is not known yet, as a
 * script. So it is plain JavaScript without `import` and `require` statements, and without anything newer than 2019.
 */
const NODE_MIN = [22, 19];

const load =
  typeof require === 'function'
    ? (name) => Promise.resolve(require(name))
    : (name) => import(name).then((module) => module.default);

Promise.all([load('fs'), load('path'), load('url'), load('child_process')]).then(
  ([fs, path, url, childProcess]) => {
    const script = fs.realpathSync(process.argv[1]);
    const root = path.dirname(path.dirname(script));
    const entry = findEntry();
    if (isNewEnough(process.versions.node) && entry !== undefined) {
      return import(url.pathToFileURL(entry).href).then((knear) => knear.main());
    }
    const node = findNode();
    if (node === undefined) return giveUp();
    return runWith(node);

    /** The source where this Node.js strips types (which it never does in node_modules), else what `npm run build` made. */
    function findEntry() {
      const source = path.join(root, 'main', 'knear.ts');
      const compiled = path.join(root, 'dist', 'main', 'knear.js');
      const isInstalled = root.split(path.sep).indexOf('node_modules') !== -1;
      const canStrip = Boolean(process.features.typescript) && !isInstalled;
      if (canStrip && fs.existsSync(source)) return source;
      return fs.existsSync(compiled) ? compiled : undefined;
    }

    /** The Node.js that our optional dependencies bring: beside us, or, where we are a dependency, beside our folder. */
    function findNode() {
      // Where this one is new enough, another one would find no more to run.
      if (isNewEnough(process.versions.node)) return undefined;
      const name = 'node-' + process.platform + '-' + process.arch;
      const places = [
        path.join(root, 'node_modules', name, 'bin', 'node'),
        path.join(path.dirname(root), name, 'bin', 'node'),
        path.join(root, 'node_modules', '.bin', 'node'),
      ];
      return places.find((place) => fs.existsSync(place) && isNewEnough(versionOf(place)));
    }

    /** Asked of the program itself: it may be there and not run, as one made for glibc on Alpine. */
    function versionOf(node) {
      const answer = childProcess.spawnSync(node, ['--version'], { encoding: 'utf8' });
      return answer.status === 0 ? answer.stdout.trim().replace(/^v/, '') : '0.0';
    }

    function runWith(node) {
      const child = childProcess.spawn(node, [script].concat(process.argv.slice(2)), {
        stdio: 'inherit',
      });
      const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
      signals.forEach((signal) => process.on(signal, () => child.kill(signal)));
      child.on('exit', (code, signal) => {
        if (signal === null) return process.exit(code);
        // To end in the same way, for whoever looks at how we ended.
        signals.forEach((each) => process.removeAllListeners(each));
        process.kill(process.pid, signal);
      });
    }

    function giveUp() {
      const isOld = !isNewEnough(process.versions.node);
      const why = isOld
        ? 'knear needs Node.js ' +
          NODE_MIN.join('.') +
          ' or newer, and this is ' +
          process.versions.node
        : 'this Node.js (' + process.versions.node + ') cannot run TypeScript from here';
      const what = isOld
        ? 'install a newer one, or run `npm install` in ' +
          root +
          ', which brings one along on Linux'
        : 'run `npm run build` in ' + root;
      process.stderr.write('KNEAR_NODE_VERSION: ' + why + '; ' + what + '\n');
      process.exit(1);
    }
  },
);

function isNewEnough(version) {
  const parts = version.split('.').map(Number);
  return parts[0] > NODE_MIN[0] || (parts[0] === NODE_MIN[0] && parts[1] >= NODE_MIN[1]);
}
