/**
 * What one filter costs for one event, in nanoseconds of CPU time: the dialects side by side. Nothing is sent; the filter
 * is compiled as a Trigger's is and asked in a loop, in this process, about events of which some match.
 */
import { createCipheriv, randomBytes } from 'node:crypto';
import type { CloudEvent } from '../../core/event.ts';
import { compileFilter } from '../../core/rules/filter.ts';
import type { Filter } from '../../core/topology.ts';
import type { Options } from '../options.ts';
import type { Attempt, Row } from '../row.ts';
import type { Stage } from '../stage.ts';
import { spread } from '../statistics.ts';
import type { RowId } from '../targets.ts';

interface Case {
  readonly id: RowId;
  readonly title: string;
  readonly filter: Filter;
}

const cesql = (expression: string): Filter => ({ kind: 'cesql', expression });
const exact = (type: string): Filter => ({ kind: 'exact', values: { type } });

const CASES: readonly Case[] = [
  { id: 'filter-exact', title: 'exact', filter: exact('shop.order.created') },
  {
    id: 'filter-prefix',
    title: 'prefix',
    filter: { kind: 'prefix', values: { type: 'shop.order.' } },
  },
  {
    id: 'filter-nested',
    title: 'all of any, not and exact',
    filter: {
      kind: 'all',
      filters: [
        { kind: 'any', filters: [exact('shop.order.deleted'), exact('shop.order.created')] },
        { kind: 'not', filter: { kind: 'suffix', values: { source: '/test' } } },
        { kind: 'exact', values: { tenant: 'blue' } },
      ],
    },
  },
  {
    id: 'filter-cesql-equal',
    title: 'cesql: type = text',
    filter: cesql("type = 'shop.order.created'"),
  },
  {
    id: 'filter-cesql-like',
    title: 'cesql: type LIKE prefix',
    filter: cesql("type LIKE 'shop.order.%'"),
  },
  {
    id: 'filter-cesql-pattern',
    title: 'cesql: type LIKE with % and _',
    filter: cesql("type LIKE '%.or_er.%'"),
  },
  {
    id: 'filter-cesql-function',
    title: 'cesql: UPPER(LEFT(tenant, 2)) = text',
    filter: cesql("UPPER(LEFT(tenant, 2)) = 'BL'"),
  },
  {
    id: 'filter-cesql-condition',
    title: 'cesql: two comparisons, EXISTS and IN',
    filter: cesql(
      "EXISTS count AND count > 5 AND tenant != 'red' AND type IN ('shop.order.created', 'x')",
    ),
  },
  {
    id: 'filter-cesql-reply',
    title: 'cesql: KN_VERIFY_CORRELATION_ID',
    filter: cesql('KN_VERIFY_CORRELATION_ID(replyid, "r", "n", "request-reply-keys", 0, 1)'),
  },
];

export async function runFilters(_stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  for (const each of CASES) await attempt(each.title, () => measure(each, options));
}

/** A tenth of what other rows take: some hundred thousand evaluations even of the slowest filter. */
const SHARE_OF_TIME = 0.1;
/** Between two looks at the clock. */
const BATCH = 1_000;

function measure({ id, title, filter }: Case, { ms, rounds }: Options): Row {
  const key = randomBytes(32);
  const correlationKeys = new Map([['n.r.key-0', key.toString('base64')]]);
  const wants = compileFilter(filter, { correlationKeys });
  const events = eventsWith(key);
  const matching = events.filter(wants).length;
  if (matching === 0 || matching === events.length) {
    throw new Error('some events match, and some do not');
  }
  const wholeMs = ms * SHARE_OF_TIME;
  evaluate(wants, events, wholeMs);
  const perEvaluation = Array.from({ length: rounds }, () => evaluate(wants, events, wholeMs));
  return {
    id,
    title,
    durability: 'none: no event is sent',
    unit: 'ns of CPU time',
    measured: spread(perEvaluation),
    lost: 0,
    foreignCores: 0, // not metered: the median over rounds has to do
    notes: [`${matching} of ${events.length} events match`],
  };
}

/** Nanoseconds for one: of CPU time, which another program on the machine lengthens less than time itself. */
function evaluate(
  wants: (event: CloudEvent) => boolean,
  events: readonly CloudEvent[],
  wholeMs: number,
): number {
  const startUs = cpuUs();
  let count = 0;
  let found = 0;
  while (cpuUs() < startUs + wholeMs * 1e3) {
    for (let at = 0; at < BATCH; at++) {
      const event = events[at % events.length];
      // The sum keeps the compiler from leaving out what nobody looks at.
      if (event !== undefined && wants(event)) found += 1;
    }
    count += BATCH;
  }
  const ns = ((cpuUs() - startUs) * 1e3) / count;
  if (found === 0) throw new Error('nothing matched');
  return ns;
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** As they come by HTTP: texts only. */
function eventsWith(key: Buffer): CloudEvent[] {
  const types = ['shop.order.created', 'shop.order.deleted', 'shop.invoice.created', 'other'];
  return Array.from({ length: 16 }, (_, index) => {
    const id = `event-${index}`;
    return {
      attributes: new Map([
        ['specversion', '1.0'],
        ['id', id],
        ['source', index % 8 === 7 ? '/shop/test' : '/shop/eu'],
        ['type', types[index % types.length] ?? ''],
        ['time', '2026-01-02T03:04:05.678Z'],
        ['datacontenttype', 'application/json'],
        ['tenant', index % 3 === 2 ? 'green' : 'blue'],
        ['count', String(index)],
        ['replyid', replyId(id, index % 2 === 0 ? key : randomBytes(32))],
      ]),
      headers: new Map(),
      data: undefined,
    };
  });
}

/** As a RequestReply of Knative makes it. */
function replyId(id: string, key: Buffer): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const sealed = Buffer.concat([nonce, cipher.update(id), cipher.final(), cipher.getAuthTag()]);
  const base64 = sealed.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
  return `${id}:${base64}:0`;
}
