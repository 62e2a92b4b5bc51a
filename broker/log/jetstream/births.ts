/**
 * Which durables there should be: each has a birth, and a message in a stream of its own remembers it. The same stream says
 * whose all of them are.
 *
 * - N14 A durable that is gone, or is another one of the same name, has lost what it had to give. That is found out at the next
 *   start, said once (`Gap`), and remembered no more.
 */
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';

import { KnearError } from '../../../core/errors.ts';
import type { Durable } from './durables.ts';
import { isMissing } from './missing.ts';

export const FORMAT = '1';

/** What an egress may have lost. */
export interface Gap {
  readonly egressId: string;
  readonly detail: string;
}

export interface BirthsOptions {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly prefix: string;
}

export class Births {
  /** Of the log as a whole, for as long as this stream exists. */
  readonly logId: string;
  readonly #options: BirthsOptions;
  readonly #stream: string;
  /** What an earlier process has left: birth by `<stream>.<durable>`. */
  readonly #found: ReadonlyMap<string, string>;

  private constructor(
    options: BirthsOptions,
    given: { stream: string; logId: string; found: ReadonlyMap<string, string> },
  ) {
    this.#options = options;
    this.#stream = given.stream;
    this.logId = given.logId;
    this.#found = given.found;
  }

  /**
   * @param newId of the log, if it has none; absent: another process makes it.
   * @throws KNEAR_LOG_FORMAT and what the server says
   */
  static async open(options: BirthsOptions, newId: string | undefined): Promise<Births> {
    const { jsm, prefix } = options;
    const stream = `${prefix.toUpperCase()}_LOG`;
    const subject = `${prefix}_log.>`;
    const found = { subjects_filter: subject };
    const info = await jsm.streams.info(stream, found).catch((error: unknown) => {
      if (!isMissing(error) || newId === undefined) throw error;
      const metadata = { 'knear-format': FORMAT, 'knear-log': newId };
      return jsm.streams.add({
        name: stream,
        subjects: [subject],
        max_msgs_per_subject: 1,
        allow_direct: true,
        metadata,
      });
    });
    const { metadata = {} } = info.config;
    requireFormat(stream, metadata);
    const births = Object.keys(info.state.subjects ?? {}).map((each) => {
      const [place = '', durable = '', birth = ''] = each.split('.').slice(-3);
      return [`${place}.${durable}`, birth] as const;
    });
    const logId = metadata['knear-log'] ?? '';
    return new Births(options, { stream, logId, found: new Map(births) });
  }

  /** @param stream that the durable is of */
  async remember(stream: string, { name, birth, egressId }: Durable): Promise<void> {
    const key = `${tokenIn(stream)}.${name}`;
    if (this.#found.get(key) === birth) return;
    await this.#options.js.publish(this.#subject(`${key}.${birth}`), egressId);
  }

  async forget(stream: string, { name }: Pick<Durable, 'name'>): Promise<void> {
    const filter = this.#subject(`${tokenIn(stream)}.${name}.*`);
    await this.#options.jsm.streams.purge(this.#stream, { filter });
  }

  /** N14. @param durables all that there are, by their streams */
  async gaps(durables: ReadonlyMap<string, readonly Durable[]>): Promise<Gap[]> {
    const known = new Set<string>();
    for (const [stream, all] of durables) {
      for (const { name, birth } of all) known.add(`${tokenIn(stream)}.${name}.${birth}`);
    }
    const gaps: Gap[] = [];
    for (const [key, birth] of this.#found) {
      if (known.has(`${key}.${birth}`)) continue;
      const subject = this.#subject(`${key}.${birth}`);
      const message = await this.#options.jsm.direct.getMessage(this.#stream, {
        last_by_subj: subject,
      });
      await this.#options.jsm.streams.purge(this.#stream, { filter: subject });
      if (message) gaps.push({ egressId: message.string(), detail: gone(key) });
    }
    return gaps;
  }

  #subject(rest: string): string {
    return `${this.#options.prefix}_log.${rest}`;
  }
}

export function gone(durable: string): string {
  return `its consumer ${durable} was deleted: what waited in it is lost for this egress`;
}

/** The stream's part of its name. */
function tokenIn(stream: string): string {
  return stream.slice(stream.indexOf('_') + 1);
}

/** @throws KNEAR_LOG_FORMAT */
export function requireFormat(
  stream: string,
  { 'knear-format': format }: Record<string, string>,
): void {
  if (format === FORMAT) return;
  const detail = `the stream ${stream} has format ${format ?? 'none'}, this program reads ${FORMAT}: start the version that made it, or use another --nats-prefix`;
  throw new KnearError('KNEAR_LOG_FORMAT', detail);
}
