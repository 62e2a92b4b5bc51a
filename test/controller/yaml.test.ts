/**
 * The folder as people treat it: on a real file system, while it is being watched. The clock is a fake one that is
 * moved only while the source sleeps, so a test says exactly how much time lies between two scans; notifications of
 * the file system are real and may add a scan anywhere.
 */
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { openYamlFolder } from '../../controller/source/yaml.ts';
import type { ResourceSource, Snapshot } from '../../core/ports/resource-source.ts';
import type { Timer } from '../../core/ports/time.ts';
import { resourceId } from '../../core/resources.ts';
import { FakeClock } from '../fakes/clock.ts';
import { broker, documents } from './manifests.ts';

/** Knows whether the source sleeps between two scans, and for how long it meant to. */
class SleepClock extends FakeClock {
  readonly sleepsMs: number[] = [];
  isAsleep = false;

  override after(delayMs: number, run: () => void): Timer {
    const timer = super.after(delayMs, run);
    // Anything shorter is the pause after a notification.
    if (delayMs < 1_000) return timer;
    this.sleepsMs.push(delayMs);
    this.isAsleep = true;
    return {
      cancel: () => {
        this.isAsleep = false;
        timer.cancel();
      },
    };
  }
}

class Watched {
  readonly folder: string;
  readonly clock = new SleepClock();
  readonly snapshots: Snapshot[] = [];
  readonly #abort = new AbortController();
  #ended: Promise<void> = Promise.resolve();

  constructor(folder: string) {
    this.folder = folder;
  }

  async start(): Promise<void> {
    const source = await openYamlFolder({ folder: this.folder, clock: this.clock });
    this.#ended = this.#collect(source);
    await until(() => this.clock.isAsleep);
  }

  async #collect(source: ResourceSource): Promise<void> {
    for await (const snapshot of source.watch({ signal: this.#abort.signal })) {
      this.snapshots.push(snapshot);
    }
  }

  async write(name: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.folder, name)), { recursive: true });
    await writeFile(join(this.folder, name), text);
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.folder, name), { recursive: true });
  }

  /** Lets time pass until the source has scanned once more. */
  async scanned(): Promise<void> {
    const count = this.clock.sleepsMs.length;
    await until(() => {
      if (this.clock.sleepsMs.length > count && this.clock.isAsleep) return true;
      if (this.clock.isAsleep) this.clock.advance(10);
      return false;
    });
  }

  /** Twenty scans are far more than any change takes that is seen at all. */
  async scannedUntil(isSo: () => boolean): Promise<void> {
    for (let scan = 0; !isSo(); scan++) {
      if (scan === 20) throw new Error('it did not happen within 20 scans');
      await this.scanned();
    }
  }

  /** What runs by the newest snapshot, as ids. */
  get running(): string[] {
    return (this.snapshots.at(-1)?.resources ?? []).map(resourceId);
  }

  get complaints(): string[] {
    const problems = this.snapshots.at(-1)?.problems ?? [];
    return problems.map(({ where, detail }) => `${where} ${detail}`);
  }

  /** Whether a resource was part of every snapshot so far. */
  always(id: string): boolean {
    return this.snapshots.every(({ resources }) => resources.map(resourceId).includes(id));
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }
}

const open: Watched[] = [];

/** A folder with these files, which is being watched. */
async function watched(files: Record<string, string> = {}): Promise<Watched> {
  const folder = await mkdtemp(join(tmpdir(), 'knear-yaml-'));
  const it = new Watched(folder);
  open.push(it);
  for (const [name, text] of Object.entries(files)) await it.write(name, text);
  await it.start();
  return it;
}

afterEach(async () => {
  for (const it of open.splice(0)) {
    await it.stop();
    await rm(it.folder, { recursive: true, force: true });
  }
});

/** Turn by turn of the event loop, so that the file system's answers come through. */
async function until(isSo: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (!isSo()) {
    if (performance.now() > deadlineMs) throw new Error('it did not happen within 10 s');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A Broker whose number of retries tells one version from another. */
function version(retry: number | string, name = 'b'): string {
  return broker(name, `spec: {delivery: {retry: ${String(retry)}}}`);
}

function retryOf(snapshot: Snapshot | undefined, name = 'b'): unknown {
  const found = snapshot?.resources.find(({ metadata }) => metadata.name === name);
  return found?.kind === 'Broker' ? found.spec.delivery?.retry : undefined;
}

const B = 'Broker/default/b';

describe('the first snapshot', () => {
  test('has everything in the folder and below', async () => {
    const it = await watched({
      'a.yaml': documents(broker('a'), broker('b')),
      'c.yml': broker('c'),
      'd.json': JSON.stringify({
        apiVersion: 'v1',
        kind: 'List',
        items: [{ apiVersion: 'eventing.knative.dev/v1', kind: 'Broker', metadata: { name: 'd' } }],
      }),
      'below/deep/e.yaml': broker('e'),
    });
    expect(it.snapshots).toHaveLength(1);
    expect(it.running).toEqual(['a', 'b', 'e', 'c', 'd'].map((name) => `Broker/default/${name}`));
    expect(it.snapshots[0]?.resources.map(({ where }) => where)).toContain('below/deep/e.yaml:2');
    expect(it.complaints).toEqual([]);
  });

  test('leaves out other files, hidden ones and what is no file', async () => {
    const it = await watched({
      'readme.md': 'a: [',
      'a.yaml~': broker('a'),
      '.hidden.yaml': broker('b'),
      '.git/c.yaml': broker('c'),
      'folder.yaml/d.yaml': broker('d'),
    });
    expect(it.running).toEqual(['Broker/default/d']);
    const socket = createServer().listen(join(it.folder, 'socket.yaml'));
    await it.scanned();
    expect(it.complaints).toEqual([]);
    await new Promise((resolve) => socket.close(resolve));
  });

  test('of an empty folder is empty', async () => {
    expect((await watched()).snapshots).toEqual([{ resources: [], problems: [] }]);
  });

  test('is not to be had from a folder that is not there', async () => {
    const opening = openYamlFolder({ folder: '/nowhere/at/all', clock: new FakeClock() });
    await expect(opening).rejects.toMatchObject({ code: 'KNEAR_RESOURCES_UNREADABLE' });
  });

  test('is not to be had from a file', async () => {
    const it = await watched({ 'a.yaml': '' });
    const opening = openYamlFolder({ folder: join(it.folder, 'a.yaml'), clock: new FakeClock() });
    await expect(opening).rejects.toMatchObject({ code: 'KNEAR_RESOURCES_UNREADABLE' });
  });
});

describe('a change', () => {
  test('is seen soon after the file system tells of it, in folders below, too', async () => {
    const it = await watched({ 'below/a.yaml': version(1) });
    await it.write('below/a.yaml', version(2));
    // Long before the slow scan, which is due after 2 s.
    await until(() => {
      if (it.clock.isAsleep && it.clock.monotonicMs() < 1_500) it.clock.advance(1);
      return retryOf(it.snapshots.at(-1)) === 2;
    });
  });

  test('is seen where no notification comes, as behind a symbolic link', async () => {
    const outside = await watched({ 'a.yaml': version(1) });
    const it = await watched();
    await symlink(join(outside.folder, 'a.yaml'), join(it.folder, 'link.yaml'));
    await it.scannedUntil(() => retryOf(it.snapshots.at(-1)) === 1);
    await outside.write('a.yaml', version(2));
    await it.scannedUntil(() => retryOf(it.snapshots.at(-1)) === 2);
    expect(it.clock.sleepsMs.at(-1)).toBe(2_000);
  });

  test('adds new files and folders', async () => {
    const it = await watched();
    await it.write('new/a.yaml', version(1));
    await it.scannedUntil(() => it.running.includes(B));
  });

  test('that changes nothing says nothing', async () => {
    const it = await watched({ 'a.yaml': version(1) });
    await it.write('notes.txt', 'x');
    for (let scan = 0; scan < 3; scan++) await it.scanned();
    expect(it.snapshots).toHaveLength(1);
  });

  test('after the signal aborts is not seen, and the watch ends', async () => {
    const it = await watched();
    await it.stop();
    await it.write('a.yaml', version(1));
    it.clock.advance(10_000);
    expect(it.snapshots).toHaveLength(1);
  });

  test('before the watch begins to wait ends it, too, when the signal has aborted', async () => {
    const it = await watched({ 'a.yaml': version(1) });
    const source = await openYamlFolder({ folder: it.folder, clock: it.clock });
    const abort = new AbortController();
    const seen: Snapshot[] = [];
    for await (const snapshot of source.watch({ signal: abort.signal })) {
      seen.push(snapshot);
      abort.abort();
    }
    expect(seen).toHaveLength(1);
  });
});

describe('Y1: weak evidence removes nothing', () => {
  test.each([
    ['cannot be parsed', 'a: [', 'a.yaml:1:5 Flow'],
    [
      'is larger than 4 MiB',
      `# ${'x'.repeat(4 * 1024 * 1024)}`,
      'a.yaml larger than 4194304 bytes',
    ],
    ['has a document without a name', 'kind: Broker', 'a.yaml:1 apiVersion and kind'],
    ['has a kind mistyped', version(3).replace('kind: Broker', 'kind: Brokre'), 'a.yaml:3 Brokre'],
  ])('when a file %s', async (_, text, complaint) => {
    const it = await watched({ 'a.yaml': version(1), 'b.yaml': broker('other') });
    await it.write('a.yaml', text);
    await it.scannedUntil(() => it.complaints.length > 0);
    await it.write('b.yaml', broker('another'));
    await it.scannedUntil(() => !it.running.includes('Broker/default/other'));
    expect(it.complaints).toEqual([expect.stringContaining(complaint)]);
    expect(it.always(B)).toBe(true);
    expect(retryOf(it.snapshots.at(-1))).toBe(1);

    await it.write('a.yaml', version(2));
    await it.scannedUntil(() => retryOf(it.snapshots.at(-1)) === 2);
    expect(it.complaints).toEqual([]);
  });

  test('when a file cannot be read', async () => {
    const it = await watched({ 'a.yaml': version(1) });
    await it.remove('a.yaml');
    await symlink('a.yaml', join(it.folder, 'a.yaml'));
    await it.scannedUntil(() => it.complaints.length > 0);
    await it.scanned();
    await it.scanned();
    expect(it.complaints).toEqual(['a.yaml ELOOP']);
    expect(it.always(B)).toBe(true);
  });

  test('when the whole folder goes away, until it is back', async () => {
    const it = await watched({ 'a.yaml': version(1) });
    await rename(it.folder, `${it.folder}-away`);
    await it.scannedUntil(() => it.complaints.length > 0);
    await it.scanned();
    expect(it.snapshots.at(-1)?.problems).toEqual([
      { code: 'KNEAR_RESOURCES_UNREADABLE', where: it.folder, detail: 'ENOENT' },
    ]);
    await rename(`${it.folder}-away`, it.folder);
    await it.scannedUntil(() => it.complaints.length === 0);
    expect(it.always(B)).toBe(true);
  });

  test('when there are too many documents, which takes in none of that file (Y5)', async () => {
    const it = await watched({ 'a.yaml': version(1) });
    const service = (index: number) =>
      `{apiVersion: v1, kind: Service, metadata: {name: s${String(index)}}}\n`;
    await it.write('b.yaml', Array.from({ length: 20_000 }, (_, i) => service(i)).join('---\n'));
    await it.scannedUntil(() => it.complaints.length > 0);
    expect(it.complaints).toEqual(['b.yaml more than 20000 resources in the folder with these']);
    expect(it.running).toEqual([B]);
  });

  test('but a file that never could be parsed has nothing to keep', async () => {
    const it = await watched({ 'a.yaml': 'a: [', 'b.yaml': version(1) });
    expect(it.running).toEqual([B]);
    expect(it.complaints).toEqual([expect.stringMatching(/^a.yaml:1:5 /)]);
  });
});

describe('Y2: a document that is not valid', () => {
  test('leaves the last valid version running, until it is valid again', async () => {
    const it = await watched({ 'a.yaml': documents(version(1), version(1, 'c')) });
    await it.write('a.yaml', documents(version('many'), version(2, 'c')));
    await it.scannedUntil(() => it.complaints.length > 0);
    expect(retryOf(it.snapshots.at(-1), 'b')).toBe(1);
    expect(retryOf(it.snapshots.at(-1), 'c')).toBe(2);
    expect(it.snapshots.at(-1)?.problems).toEqual([
      expect.objectContaining({ code: 'KNEAR_MANIFEST_INVALID', resourceId: B, where: 'a.yaml:6' }),
    ]);

    await it.write('a.yaml', documents(version(3), version(2, 'c')));
    await it.scannedUntil(() => it.complaints.length === 0);
    expect(retryOf(it.snapshots.at(-1), 'b')).toBe(3);
  });

  test('has nothing to leave running when no version was ever valid', async () => {
    const it = await watched({ 'a.yaml': version('many') });
    expect(it.running).toEqual([]);
    expect(it.complaints).toHaveLength(1);
  });

  test('does so in another file, too', async () => {
    const it = await watched({ 'a.yaml': version(1) });
    await it.write('z.yaml', version('many'));
    await it.remove('a.yaml');
    await it.scannedUntil(() => it.complaints.length > 0 && it.clock.sleepsMs.at(-1) === 2_000);
    expect(it.always(B)).toBe(true);
    expect(retryOf(it.snapshots.at(-1))).toBe(1);
  });
});

describe('Y3: what is missing', () => {
  test('is dropped a second later, and not before', async () => {
    const it = await watched({ 'a.yaml': documents(version(1), broker('c')) });
    await it.write('a.yaml', broker('c'));
    await it.scannedUntil(() => it.clock.sleepsMs.at(-1) === 1_000);
    const seenMissingMs = it.clock.monotonicMs();
    expect(it.running).toContain(B);
    await it.scannedUntil(() => !it.running.includes(B));
    expect(it.clock.monotonicMs() - seenMissingMs).toBeGreaterThanOrEqual(990);
    expect(it.running).toEqual(['Broker/default/c']);
    await it.scanned();
    expect(it.clock.sleepsMs.at(-1)).toBe(2_000);
  });

  test('is dropped with its file, and with its folder', async () => {
    const it = await watched({
      'a.yaml': version(1),
      'below/c.yaml': broker('c'),
      'd.yaml': broker('d'),
    });
    await it.remove('a.yaml');
    await it.remove('below');
    await it.scannedUntil(() => it.clock.sleepsMs.at(-1) === 1_000);
    expect(it.snapshots).toHaveLength(1);
    await it.scannedUntil(() => it.running.length === 1);
    expect(it.running).toEqual(['Broker/default/d']);
    expect(it.complaints).toEqual([]);
  });

  test.each([
    ['its file was gone for a moment', (it: Watched) => it.remove('a.yaml')],
    ['its file was empty for a moment', (it: Watched) => it.write('a.yaml', '')],
    ['its file was cut for a moment', (it: Watched) => it.write('a.yaml', '# the head\n---\n')],
  ])('is not missed when %s', async (_, disturb) => {
    const it = await watched({ 'a.yaml': version(1) });
    await disturb(it);
    await it.scannedUntil(() => it.clock.sleepsMs.at(-1) === 1_000);
    await it.write('a.yaml', version(2));
    await it.scannedUntil(() => retryOf(it.snapshots.at(-1)) === 2);
    await it.scannedUntil(() => it.clock.sleepsMs.at(-1) === 2_000);
    await it.scanned();
    expect(it.always(B)).toBe(true);
  });

  test('is not missed when its file comes back broken', async () => {
    const it = await watched({ 'a.yaml': version(1) });
    await it.remove('a.yaml');
    await it.scannedUntil(() => it.clock.sleepsMs.at(-1) === 1_000);
    await it.write('a.yaml', 'a: [');
    await it.scannedUntil(() => it.complaints.length > 0);
    await it.scanned();
    await it.scanned();
    expect(it.always(B)).toBe(true);
  });

  test('is not missed when its file is replaced by renaming', async () => {
    const it = await watched({ 'a.yaml': version(1) });
    await it.write('.a.yaml.swp', version(2));
    await rename(join(it.folder, 'a.yaml'), join(it.folder, 'a.yaml~'));
    await rename(join(it.folder, '.a.yaml.swp'), join(it.folder, 'a.yaml'));
    await it.scannedUntil(() => retryOf(it.snapshots.at(-1)) === 2);
    expect(it.always(B)).toBe(true);
  });

  test('is not missed when it moves to another file', async () => {
    const it = await watched({ 'a.yaml': version(1) });
    await rename(join(it.folder, 'a.yaml'), join(it.folder, 'z.yaml'));
    await it.scannedUntil(() => it.snapshots.at(-1)?.resources[0]?.where === 'z.yaml:2');
    await it.scannedUntil(() => it.clock.sleepsMs.at(-1) === 2_000);
    expect(it.always(B)).toBe(true);
    expect(it.snapshots.flatMap(({ problems }) => problems)).toEqual([]);
  });
});

describe('Y4: two documents with one identity', () => {
  test('are one resource, the first by file, and a problem of the other', async () => {
    const it = await watched({ 'z.yaml': version(2), 'a.yaml': version(1) });
    expect(retryOf(it.snapshots[0])).toBe(1);
    expect(it.snapshots[0]?.problems).toEqual([
      {
        code: 'KNEAR_MANIFEST_INVALID',
        where: 'z.yaml:2',
        resourceId: B,
        detail: 'already defined at a.yaml:2; this document is ignored',
      },
    ]);
    await it.remove('a.yaml');
    await it.scannedUntil(() => it.complaints.length === 0);
    expect(retryOf(it.snapshots.at(-1))).toBe(2);
    expect(it.always(B)).toBe(true);
  });

  test('in one file are the first by position', async () => {
    const it = await watched({ 'a.yaml': documents(version(1), version(2)) });
    expect(retryOf(it.snapshots[0])).toBe(1);
    expect(it.complaints).toEqual([
      'a.yaml:9 already defined at a.yaml:2; this document is ignored',
    ]);
  });

  test('in different namespaces are two resources', async () => {
    const it = await watched({ 'a.yaml': documents(broker('b'), broker('b', '  namespace: far')) });
    expect(it.running).toEqual([B, 'Broker/far/b']);
    expect(it.complaints).toEqual([]);
  });
});
