import { expect, test } from '@jest/globals';
import { Lanes } from '../../dispatcher/lanes.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Work that notes when it starts, and ends when told. */
function lanesWithJournal() {
  const lanes = new Lanes();
  const started: string[] = [];
  const ends = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  const enter = (key: string, name: string): Promise<void> =>
    lanes.enter(key, () => {
      started.push(name);
      return new Promise((resolve, reject) => ends.set(name, { resolve, reject }));
    });
  return { enter, started, ends };
}

test('work in one lane runs one after the other, in the order in which it entered', async () => {
  const { enter, started, ends } = lanesWithJournal();
  const runs = ['a1', 'a2', 'a3'].map((name) => enter('a', name));
  for (const [index, name] of ['a1', 'a2', 'a3'].entries()) {
    await turn();
    expect(started).toEqual(['a1', 'a2', 'a3'].slice(0, index + 1));
    ends.get(name)?.resolve();
  }
  await expect(Promise.all(runs)).resolves.toEqual([undefined, undefined, undefined]);
});

test('lanes do not wait for each other, whatever their keys look like', async () => {
  const { enter, started } = lanesWithJournal();
  for (const key of ['a', 'b', '', '__proto__', 'constructor']) void enter(key, key);
  await turn();
  expect(started).toEqual(['a', 'b', '', '__proto__', 'constructor']);
});

test('work that fails, or throws at once, makes way for the next and tells its own caller only', async () => {
  const { enter, started, ends } = lanesWithJournal();
  const lanes = new Lanes();
  const failing = enter('a', 'a1');
  const next = enter('a', 'a2');
  await turn();
  ends.get('a1')?.reject(new Error('a bug'));
  await expect(failing).rejects.toThrow('a bug');
  await turn();
  expect(started).toEqual(['a1', 'a2']);
  ends.get('a2')?.resolve();
  await expect(next).resolves.toBeUndefined();

  const thrown = lanes.enter('a', () => {
    throw new Error('at once');
  });
  await expect(thrown).rejects.toThrow('at once');
  await expect(lanes.enter('a', () => Promise.resolve())).resolves.toBeUndefined();
});

test('who enters a lane that has run empty starts anew', async () => {
  const { enter, started, ends } = lanesWithJournal();
  const first = enter('a', 'a1');
  await turn();
  ends.get('a1')?.resolve();
  await first;
  await turn();
  void enter('a', 'a2');
  await turn();
  expect(started).toEqual(['a1', 'a2']);
});

test('who enters at the very moment at which the last one ends waits for nobody else', async () => {
  const { enter, started, ends } = lanesWithJournal();
  const first = enter('a', 'a1');
  await turn();
  const second = first.then(() => enter('a', 'a2'));
  ends.get('a1')?.resolve();
  await turn();
  expect(started).toEqual(['a1', 'a2']);
  ends.get('a2')?.resolve();
  await second;
});
