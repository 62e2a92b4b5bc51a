/**
 * Which events a Trigger gets. A row is a filter, the events that pass it and those that do not. Rows C-FILTER of
 * docs/conformance.md.
 */
import { expect } from '@jest/globals';
import { createCipheriv, randomBytes } from 'node:crypto';
import { broker, trigger, type TriggerSpec } from '../../e2e/manifests.ts';
import { describeRows, type Row, type Sending } from './rows.ts';

interface FilterRow {
  readonly id: string;
  readonly name: string;
  readonly spec: Pick<TriggerSpec, 'filter' | 'filters'>;
  readonly passes?: readonly Sending[];
  readonly fails?: readonly Sending[];
}

/** An event with these attributes, in binary mode. */
function withAttributes(attributes: Readonly<Record<string, string>>): Sending {
  return { attributes };
}

const KEY = randomBytes(32);
const VERIFY = 'KN_VERIFY_CORRELATION_ID(replyid, "r", "shop", "request-reply-keys", 0, 1)';

/** As Knative's RequestReply makes it: the id, the sealed id, the index of a pod. */
function correlationId(id: string, key: Buffer): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const sealed = Buffer.concat([nonce, cipher.update(id), cipher.final(), cipher.getAuthTag()]);
  return `${id}:${sealed.toString('base64').replaceAll('+', '-').replaceAll('/', '_')}:0`;
}

const ROWS: readonly FilterRow[] = [
  {
    id: 'C-FILTER-01',
    name: 'no filter: every event passes',
    spec: {},
    passes: [{}, withAttributes({ type: 'any', source: '/other' })],
  },
  {
    id: 'C-FILTER-01',
    name: 'filters without entries: every event passes',
    spec: { filters: [] },
    passes: [{}],
  },
  {
    id: 'C-FILTER-02',
    name: 'attributes: each has to have exactly this value',
    spec: { filter: { type: 'order', region: 'north' } },
    passes: [withAttributes({ type: 'order', region: 'north' })],
    fails: [
      withAttributes({ type: 'Order', region: 'north' }),
      withAttributes({ type: 'order', region: 'south' }),
      withAttributes({ type: 'order.more', region: 'north' }),
      withAttributes({ type: 'order' }),
    ],
  },
  {
    id: 'C-FILTER-03',
    name: 'attributes: an empty value asks for any, but for one',
    spec: { filter: { subject: '' } },
    passes: [withAttributes({ subject: 'a' })],
    fails: [{}],
  },
  ...[
    { name: 'source', value: '/e2e' },
    { name: 'id', value: 'e1' },
    { name: 'specversion', value: '1.0' },
    { name: 'datacontenttype', value: 'application/json' },
  ].map(({ name, value }) => ({
    id: 'C-FILTER-04',
    name: `attributes: ${name} is one like any other`,
    spec: { filter: { [name]: value } },
    passes: [{}],
  })),
  {
    id: 'C-FILTER-05',
    name: 'filters with entries go before filter',
    spec: { filter: { type: 'order' }, filters: [{ exact: { type: 'asked' } }] },
    passes: [{}],
    fails: [withAttributes({ type: 'order' })],
  },
  {
    id: 'C-FILTER-05',
    name: 'filters without entries do not',
    spec: { filter: { type: 'order' }, filters: [] },
    passes: [withAttributes({ type: 'order' })],
    fails: [{}],
  },
  {
    id: 'C-FILTER-06',
    name: 'filters: every entry has to pass',
    spec: { filters: [{ prefix: { type: 'order.' } }, { suffix: { type: '.created' } }] },
    passes: [withAttributes({ type: 'order.created' })],
    fails: [withAttributes({ type: 'order.deleted' }), withAttributes({ type: 'user.created' })],
  },
  ...[
    { dialect: 'exact', value: 'order', good: 'order', bad: 'orders' },
    { dialect: 'prefix', value: 'ord', good: 'order', bad: 'border' },
    { dialect: 'suffix', value: 'der', good: 'order', bad: 'orders' },
  ].map(({ dialect, value, good, bad }) => ({
    id: 'C-FILTER-07',
    name: `${dialect}: case and all`,
    spec: { filters: [{ [dialect]: { type: value } }] },
    passes: [withAttributes({ type: good })],
    fails: [withAttributes({ type: bad }), withAttributes({ type: good.toUpperCase() })],
  })),
  ...['exact', 'prefix', 'suffix'].map((dialect) => ({
    id: 'C-FILTER-08',
    name: `${dialect}: an attribute that is not there fails`,
    spec: { filters: [{ [dialect]: { tenant: 'a' } }] },
    passes: [withAttributes({ tenant: 'a' })],
    fails: [{}],
  })),
  {
    id: 'C-FILTER-09',
    name: 'several attributes in one map all have to match',
    spec: { filters: [{ prefix: { type: 'order', source: '/e' } }] },
    passes: [withAttributes({ type: 'order.created' })],
    fails: [withAttributes({ type: 'order.created', source: '/f' })],
  },
  {
    id: 'C-FILTER-10',
    name: 'all, any and not, one in another',
    spec: {
      filters: [
        {
          all: [
            { any: [{ exact: { type: 'a' } }, { exact: { type: 'b' } }] },
            { not: { exact: { tenant: 'x' } } },
          ],
        },
      ],
    },
    passes: [withAttributes({ type: 'a' }), withAttributes({ type: 'b', tenant: 'y' })],
    fails: [withAttributes({ type: 'c' }), withAttributes({ type: 'a', tenant: 'x' })],
  },
  ...[
    { name: 'an empty entry', filters: [{}] },
    { name: 'not of an empty entry', filters: [{ not: {} }] },
    { name: 'an empty cesql', filters: [{ cesql: '' }] },
    { name: 'all of nothing', filters: [{ all: [] }] },
  ].map(({ name, filters }) => ({
    id: 'C-FILTER-11',
    name: `${name} asks for nothing`,
    spec: { filters },
    passes: [{}],
  })),
  {
    id: 'C-FILTER-11',
    name: 'and is left out beside others',
    spec: { filters: [{ any: [{}, { exact: { type: 'order' } }] }] },
    passes: [withAttributes({ type: 'order' })],
    fails: [{}],
  },
  {
    id: 'C-FILTER-12',
    name: 'any: the last child decides where none passes and one asks for nothing',
    // Knative moves children that pass often to the front, after which the same event may be judged otherwise.
    spec: { filters: [{ any: [{ exact: { type: 'order' } }, { not: { not: {} } }] }] },
    passes: [withAttributes({ type: 'order' }), {}],
  },
  {
    id: 'C-FILTER-12',
    name: 'any: so in the other order the same event fails, however often it is asked',
    spec: { filters: [{ any: [{ not: { not: {} } }, { exact: { type: 'order' } }] }] },
    passes: [withAttributes({ type: 'order' })],
    fails: [{}, {}, {}],
  },
  {
    id: 'C-FILTER-13',
    name: 'cesql: an expression that is true',
    spec: { filters: [{ cesql: "type LIKE 'order.%' AND NOT (region IN ('south', 'west'))" }] },
    passes: [withAttributes({ type: 'order.created', region: 'north' })],
    fails: [
      withAttributes({ type: 'order.created', region: 'west' }),
      withAttributes({ type: 'user.created', region: 'north' }),
    ],
  },
  {
    id: 'C-FILTER-14',
    name: 'cesql: an attribute that is not there is an error, which fails',
    spec: { filters: [{ cesql: "tenant <> 'a'" }] },
    passes: [withAttributes({ tenant: 'b' })],
    fails: [{}],
  },
  {
    id: 'C-FILTER-14',
    name: 'cesql: unless EXISTS asks for it',
    spec: { filters: [{ cesql: "EXISTS tenant AND tenant = 'a'" }, { cesql: 'NOT EXISTS none' }] },
    passes: [withAttributes({ tenant: 'a' })],
    fails: [{}],
  },
  {
    id: 'C-FILTER-14',
    name: 'cesql: so is a value that is no number',
    spec: { filters: [{ cesql: 'count > 5' }] },
    passes: [withAttributes({ count: '6' })],
    fails: [withAttributes({ count: '5' }), withAttributes({ count: 'many' })],
  },
  {
    id: 'C-FILTER-15',
    name: 'cesql: the text true is not the value true',
    spec: { filters: [{ cesql: 'flag' }] },
    passes: [{ json: { flag: true } }],
    fails: [{ json: { flag: false } }, { json: { flag: 7 } }],
  },
  ...['exact', 'attributes'].map((dialect) => ({
    id: 'C-FILTER-17',
    name: `${dialect}: integers and booleans of JSON count as their text`,
    spec:
      dialect === 'exact'
        ? { filters: [{ exact: { count: '7', flag: 'true' } }] }
        : { filter: { count: '7', flag: 'true' } },
    passes: [{ json: { count: 7, flag: true } }, withAttributes({ count: '7', flag: 'true' })],
    fails: [{ json: { count: 8, flag: true } }],
  })),
  {
    id: 'C-FILTER-18',
    name: 'an absent time is absent',
    spec: { filter: { time: '' } },
    passes: [withAttributes({ time: '2026-01-02T03:04:05Z' })],
    fails: [{}],
  },
  {
    id: 'C-FILTER-19',
    name: 'time is the text that the producer wrote',
    spec: { filters: [{ exact: { time: '2026-01-02T03:04:05.000Z' } }] },
    passes: [withAttributes({ time: '2026-01-02T03:04:05.000Z' })],
    fails: [withAttributes({ time: '2026-01-02T03:04:05Z' })],
  },
  ...['dataschema', 'schemaurl'].map((name) => ({
    id: 'C-FILTER-20',
    name: `${name} means that of both versions`,
    spec: { filters: [{ exact: { [name]: 'http://a/b' } }] },
    passes: [
      withAttributes({ dataschema: 'http://a/b' }),
      withAttributes({ specversion: '0.3', schemaurl: 'http://a/b' }),
    ],
    fails: [{}],
  })),
  {
    id: 'C-FILTER-20',
    name: 'datamediatype is the content type without its parameters',
    spec: { filters: [{ exact: { datamediatype: 'text/plain' } }] },
    passes: [{ headers: { 'content-type': 'text/plain; charset=utf-8' } }],
    fails: [{}],
  },
];

describeRows('filters', [
  ...ROWS.map(({ id, name, spec, passes = [], fails = [] }): Row => {
    const events = [...passes, ...fails];
    return {
      id,
      name,
      resources: ({ url }) => [broker('main'), trigger('all', { ...spec, subscriber: url('sub') })],
      events,
      check: ({ at }) => {
        const ids = at('sub').map((received) => received.id);
        expect(ids.toSorted()).toEqual(passes.map((_, index) => `e${String(index + 1)}`));
      },
    };
  }),
  {
    id: 'C-FILTER-16',
    name: 'KN_VERIFY_CORRELATION_ID passes what answers a request that was sealed with a key of its name',
    resources: ({ url }) => [
      broker('main'),
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'request-reply-keys', namespace: 'knative-eventing' },
        data: { 'shop.r.key-1': KEY.toString('base64') },
      },
      trigger('all', { filters: [{ cesql: VERIFY }], subscriber: url('sub') }),
    ],
    events: [
      withAttributes({ replyid: correlationId('a', KEY) }),
      withAttributes({ replyid: correlationId('a', randomBytes(32)) }),
      withAttributes({ replyid: correlationId('a', KEY).replace('a:', 'b:') }),
      withAttributes({ replyid: 'a:b:0' }),
      {},
    ],
    calls: { sub: 1 },
  },
  {
    id: 'C-FILTER-21',
    name: 'two Triggers with one subscriber give it the event twice',
    resources: ({ url }) => [
      broker('main'),
      trigger('a', { subscriber: url('sub') }),
      trigger('b', { filter: { type: 'asked' }, subscriber: url('sub') }),
    ],
    events: [{}],
    calls: { sub: 2 },
  },
  // The names that Knative's tests have refused, and one dialect too many.
  ...['SOURCE', 'Source', 's pace', 's_pace', 's-pace', '123', '\u{1F60A}', '!@#$%^&*()'].map(
    (name): Row => ({
      id: 'C-FILTER-22',
      name: `a filter for ${name} is refused`,
      resources: ({ url }) => [
        broker('main'),
        trigger('all', { filter: { [name]: 'x' }, subscriber: url('sub') }),
        trigger('more', { filters: [{ not: { exact: { [name]: 'x' } } }], subscriber: url('sub') }),
      ],
      events: [{}],
      calls: {},
      statuses: {
        'Trigger/all': { isReady: false, reason: 'ManifestInvalid', message: /attribute name/ },
        'Trigger/more': { isReady: false, reason: 'ManifestInvalid', message: /attribute name/ },
      },
    }),
  ),
  ...[
    { name: 'two dialects in one entry', entry: { exact: { type: 'a' }, prefix: { type: 'a' } } },
    { name: 'a cesql that cannot be read', entry: { cesql: "type = 'a" } },
    { name: 'a function that does not exist', entry: { cesql: 'NOSUCH(type)' } },
  ].map(({ name, entry }): Row => ({
    id: 'C-FILTER-23',
    name: `${name} is refused`,
    resources: ({ url }) => [
      broker('main'),
      trigger('all', { filters: [entry], subscriber: url('sub') }),
    ],
    events: [{}],
    calls: {},
    statuses: { 'Trigger/all': { isReady: false, reason: 'ManifestInvalid' } },
  })),
]);
