/**
 * From one version of a resource to the next: what may change, and how changes are counted. The folder is a real one;
 * time moves between two scans only, so a test says whether a scan comes within the second of grace or after it.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { FolderScanner, GRACE_MS } from '../../controller/source/folder-scanner.ts';
import { loadSchemas } from '../../controller/source/schemas.ts';
import type { Snapshot } from '../../core/ports/resource-source.ts';
import { resourceId } from '../../core/resources.ts';
import { FakeClock } from '../fakes/clock.ts';
import { broker, channel, documents, subscription, trigger } from './manifests.ts';

const schemas = loadSchemas();

/** A folder that is looked at when a test says so. */
class Scanned {
  readonly #folder: string;
  readonly #clock = new FakeClock();
  readonly #scanner: FolderScanner;

  constructor(folder: string, loaded: Awaited<typeof schemas>) {
    this.#folder = folder;
    this.#scanner = new FolderScanner({ folder, clock: this.#clock, schemas: loaded });
  }

  /** Writes the file anew, or removes it, and looks. */
  async after(text: string | undefined, name = 'a.yaml'): Promise<Snapshot> {
    if (text === undefined) await rm(join(this.#folder, name));
    else await writeFile(join(this.#folder, name), text);
    return this.#scanner.scan();
  }

  async aMomentLater(): Promise<Snapshot> {
    this.#clock.advance(GRACE_MS);
    return this.#scanner.scan();
  }
}

const folders: string[] = [];

async function scanned(): Promise<Scanned> {
  const folder = await mkdtemp(join(tmpdir(), 'knear-versions-'));
  folders.push(folder);
  return new Scanned(folder, await schemas);
}

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

function complaints({ problems }: Snapshot): string[] {
  return problems.map(({ where, detail }) => `${where} ${detail}`);
}

function specs({ resources }: Snapshot): unknown[] {
  return resources.map(({ spec }) => spec);
}

const TO_URI = 'subscriber: {uri: "http://a/"}';
const classed = (name: string) => `  annotations: {eventing.knative.dev/broker.class: ${name}}`;
const config = (name: string, more = '') =>
  `config: {apiVersion: v1, kind: ConfigMap, name: ${name}${more}}`;
const generic = (spec: string) => channel('c', `spec: {${spec}}`, 'Channel');
const template = (more = '') =>
  `channelTemplate: {apiVersion: messaging.knear.dev/v1, kind: KnearChannel${more}}`;
const toChannel = (name: string, more = '') =>
  subscription(
    `  channel: {apiVersion: messaging.knear.dev/v1, kind: KnearChannel, name: ${name}${more}}\n  ${TO_URI}`,
  );
const toBroker = (name: string) => trigger(`  broker: ${name}\n  ${TO_URI}`);
const toBrokerRef = (name: string) =>
  trigger(`  brokerRef: {kind: Broker, name: ${name}}\n  ${TO_URI}`);

describe('Y6: a change of', () => {
  test.each([
    {
      name: "a Broker's config",
      from: broker('b', `spec: {${config('x')}}`),
      to: broker('b', `spec: {${config('y')}, delivery: {retry: 1}}`),
      where: 'a.yaml:6 spec.config: ',
    },
    {
      name: "a Broker's config from none",
      from: broker('b'),
      to: broker('b', `spec: {${config('y')}}`),
      where: 'a.yaml:6 spec.config: ',
    },
    {
      name: "a Broker's class",
      from: broker('b', classed('Knear')),
      to: broker('b', classed('Kafka')),
      where: 'a.yaml:6 metadata.annotations.eventing.knative.dev/broker.class: ',
    },
    {
      name: "a Broker's class from none",
      from: broker('b'),
      to: broker('b', classed('Kafka')),
      where: 'a.yaml:6 metadata.annotations.eventing.knative.dev/broker.class: ',
    },
    {
      name: "a Trigger's Broker",
      from: toBroker('b'),
      to: toBroker('c'),
      where: 'a.yaml:8 spec.broker: ',
    },
    {
      name: "a Trigger's Broker, by a reference",
      from: toBroker('b'),
      to: toBrokerRef('c'),
      where: 'a.yaml:8 spec.brokerRef.name: ',
    },
    {
      name: "a Subscription's channel",
      from: toChannel('c'),
      to: toChannel('d'),
      where: 'a.yaml:8 spec.channel: ',
    },
    {
      name: "a Channel's template",
      from: generic(template()),
      to: generic(template(', spec: {delivery: {retry: 1}}')),
      where: 'a.yaml:6 spec.channelTemplate: ',
    },
    {
      name: "a Channel's template from none",
      from: generic(''),
      to: generic(template().replace('Knear', 'InMemory').replace('knear.dev', 'knative.dev')),
      where: 'a.yaml:6 spec.channelTemplate: ',
    },
    {
      name: "a Channel's delivery",
      from: generic('delivery: {retry: 1}'),
      to: generic('delivery: {retry: 2}'),
      where: 'a.yaml:6 spec.delivery: ',
    },
  ])('$name is refused, and the version before runs on', async ({ from, to, where }) => {
    const it = await scanned();
    const before = await it.after(from);
    expect(complaints(before)).toEqual([]);
    const [id = ''] = before.resources.map(resourceId);

    const refused = await it.after(to);
    expect(refused.resources).toEqual(before.resources);
    expect(refused.problems).toEqual([
      {
        code: 'KNEAR_MANIFEST_INVALID',
        where: where.split(' ')[0],
        resourceId: id,
        detail: expect.stringContaining(`wait until ${id} is gone from /resources`),
      },
    ]);
    expect(complaints(refused)[0]).toContain(`${where}cannot change while ${id} exists`);

    // It does not wear off.
    expect(await it.aMomentLater()).toEqual(refused);
    expect(complaints(await it.after(from))).toEqual([]);
  });

  test.each([
    {
      name: "a Broker's delivery",
      from: broker('b', `${classed('Knear')}\nspec: {${config('x')}}`),
      to: broker(
        'b',
        `${classed('Knear')}\nspec: {${config('x', ', namespace: default')}, delivery: {retry: 1}}`,
      ),
    },
    {
      name: "a Broker's class from none to the one it has",
      from: broker('b'),
      to: broker('b', `${classed('Knear')}\nspec: {delivery: {retry: 1}}`),
    },
    {
      name: 'the way a Broker is named',
      from: toBroker('b'),
      to: toBrokerRef('b').replace('http://a/', 'http://b/'),
    },
    {
      name: "a Subscription's subscriber",
      from: toChannel('c'),
      to: toChannel('c', ', namespace: default').replace('http://a/', 'http://b/'),
    },
    {
      name: "a Channel's template from none to the one it has",
      from: generic(''),
      to: generic(template()),
    },
    {
      name: "a KnearChannel's delivery",
      from: channel('c', 'spec: {delivery: {retry: 1}}'),
      to: channel('c', 'spec: {delivery: {retry: 2}}'),
    },
    {
      name: 'anything of a Sequence',
      from: 'apiVersion: flows.knative.dev/v1\nkind: Sequence\nmetadata: {name: s}\nspec: {steps: [{uri: "http://a/"}]}\n',
      to: `apiVersion: flows.knative.dev/v1\nkind: Sequence\nmetadata: {name: s}\nspec: {steps: [{uri: "http://b/"}], ${template()}}\n`,
    },
  ])('$name is taken', async ({ from, to }) => {
    const it = await scanned();
    const before = await it.after(from);
    const after = await it.after(to);
    expect(complaints(after)).toEqual([]);
    expect(specs(after)).not.toEqual(specs(before));
  });

  test('a resource that was gone is taken', async () => {
    const it = await scanned();
    await it.after(toBroker('b'));
    await it.after(undefined);
    expect((await it.aMomentLater()).resources).toEqual([]);
    const after = await it.after(toBroker('c'));
    expect(complaints(after)).toEqual([]);
    expect(specs(after)).toMatchObject([{ broker: 'c' }]);
  });

  test('a resource whose document was away for less than a second is refused', async () => {
    const it = await scanned();
    await it.after(toBroker('b'));
    await it.after(undefined);
    const after = await it.after(toBroker('c'));
    expect(complaints(after)).toEqual([expect.stringContaining('a.yaml:8 spec.broker: ')]);
    expect(specs(after)).toMatchObject([{ broker: 'b' }]);
  });

  test('a refused version can be taken when it was removed until the resource was gone', async () => {
    const it = await scanned();
    await it.after(toBroker('b'));
    await it.after(toBroker('c'));
    const leaving = await it.after(undefined);
    expect(specs(leaving)).toMatchObject([{ broker: 'b' }]);
    expect(complaints(leaving)).toEqual([]);
    expect((await it.aMomentLater()).resources).toEqual([]);
    expect(specs(await it.after(toBroker('c')))).toMatchObject([{ broker: 'c' }]);
  });

  test('is refused in another file, too', async () => {
    const it = await scanned();
    await it.after(toBroker('b'));
    await it.after(toBroker('c'), 'z.yaml');
    await it.after(undefined);
    const after = await it.aMomentLater();
    expect(specs(after)).toMatchObject([{ broker: 'b' }]);
    expect(complaints(after)).toEqual([expect.stringContaining('z.yaml:8 spec.broker: ')]);
  });

  test('is refused after a version that was not valid', async () => {
    const it = await scanned();
    await it.after(toBroker('b'));
    await it.after(toBroker('b').replace('subscriber', 'subscribe'));
    expect(specs(await it.after(toBroker('c')))).toMatchObject([{ broker: 'b' }]);
  });

  test('is not told again when its file cannot be read any more', async () => {
    const it = await scanned();
    await it.after(toBroker('b'));
    await it.after(toBroker('c'));
    const after = await it.after('a: [');
    expect(complaints(after)).toEqual([expect.stringMatching(/^a.yaml:1:5 /)]);
    expect(specs(after)).toMatchObject([{ broker: 'b' }]);
  });
});

describe('Y7: the generation', () => {
  const version = (retry: number, metadata = '') =>
    broker('b', `${metadata}\nspec: {delivery: {retry: ${String(retry)}}}`);
  const generations = ({ resources }: Snapshot) =>
    resources.map(({ metadata }) => metadata.generation);

  test('is 1 at first, and grows with each change of the spec', async () => {
    const it = await scanned();
    expect(generations(await it.after(version(1)))).toEqual([1]);
    expect(generations(await it.after(version(2)))).toEqual([2]);
    expect(generations(await it.after(version(1)))).toEqual([3]);
  });

  test.each([
    ['a label', version(1, '  labels: {a: b}')],
    ['the order of fields', 'spec: {delivery: {retry: 1}}' + version(1).split('\nspec')[0]],
    ['a comment', `# more\n${version(1)}`],
    ['a status', `${version(1)}\nstatus: {observedGeneration: 1}`],
  ])('does not grow with a change of %s', async (_, text) => {
    const it = await scanned();
    await it.after(version(1));
    const after = await it.after(text);
    expect(complaints(after)).toEqual([]);
    expect(generations(after)).toEqual([1]);
  });

  test('does not grow with a version that is not valid, or refused', async () => {
    const it = await scanned();
    await it.after(version(1));
    await it.after(broker('b', 'spec: {delivery: {retry: x}}'));
    await it.after(version(2, classed('Kafka')));
    expect(generations(await it.after(version(1)))).toEqual([1]);
  });

  test('is the one in the file, and grows where the file does not raise it', async () => {
    const it = await scanned();
    expect(generations(await it.after(version(1, '  generation: 5')))).toEqual([5]);
    expect(generations(await it.after(version(2, '  generation: 5')))).toEqual([6]);
    expect(generations(await it.after(version(3, '  generation: 9')))).toEqual([9]);
    expect(generations(await it.after(version(4)))).toEqual([10]);
  });

  test('begins anew with a resource that was gone', async () => {
    const it = await scanned();
    await it.after(version(1));
    await it.after(version(2));
    await it.after(undefined);
    await it.aMomentLater();
    expect(generations(await it.after(version(3)))).toEqual([1]);
  });

  test('is counted for each resource', async () => {
    const it = await scanned();
    await it.after(documents(version(1), toBroker('b')));
    expect(generations(await it.after(documents(version(2), toBroker('b'))))).toEqual([2, 1]);
  });
});

test('a file that is saved without a change gives the same resources', async () => {
  const it = await scanned();
  const before = await it.after(toBroker('b'));
  const after = await it.after(toBroker('b'));
  expect(after.resources[0]).toBe(before.resources[0]);
});
