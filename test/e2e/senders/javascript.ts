/** What the CloudEvents SDK for JavaScript sends, in the ways that its documentation shows. */
import {
  CloudEvent,
  emitterFor,
  HTTP,
  httpTransport,
  Mode,
  type EmitterFunction,
  type Message,
} from 'cloudevents';
import type { Arrival } from './arrivals.ts';

export interface SdkRow {
  readonly title: string;
  readonly name: string;
  /** Resolves with the status. */
  readonly send: (url: string) => Promise<number>;
  readonly arrivals: readonly Arrival[];
}

const ALL_BYTES = Uint8Array.from({ length: 256 }, (_, index) => index);

const TIME = '2026-11-25T01:02:03.456Z';
const ORDER = { order: 1, name: 'Zoë', tags: ['a', null, true] };

function event(id: string, more: Readonly<Record<string, unknown>> = {}): CloudEvent<unknown> {
  return new CloudEvent({ id, source: '/js/sdk', type: 'com.example.order', time: TIME, ...more });
}

function arrival(id: string, { attributes = {}, ...rest }: Partial<Arrival>): Arrival {
  const common = { specversion: '1.0', source: '/js/sdk', type: 'com.example.order', time: TIME };
  return { attributes: { ...common, id, ...attributes }, ...rest };
}

async function post(url: string, { headers, body }: Message): Promise<number> {
  const plain = Object.entries(headers).map(([name, value]) => [name, String(value)] as const);
  // What the SDK makes of data, which its type leaves open.
  const data = (body ?? null) as string | Uint8Array<ArrayBuffer> | null;
  const init = { method: 'POST', headers: Object.fromEntries(plain), body: data };
  const response = await fetch(url, init);
  await response.body?.cancel();
  return response.status;
}

/** An emitter over fetch, as the README of the SDK has it. */
function fetchEmitter(
  url: string,
  mode: Mode,
  onStatus: (status: number) => void,
): EmitterFunction {
  const transport = async (message: Message) => onStatus(await post(url, message));
  return emitterFor(transport, { binding: HTTP, mode });
}

async function emit(url: string, mode: Mode, sent: CloudEvent<unknown>): Promise<number> {
  let status = 0;
  await fetchEmitter(url, mode, (answered) => (status = answered))(sent);
  return status;
}

const EXTENSIONS = { subject: 'a/b', retries: 3, isurgent: true, tenant: 'Ole' };
const AS_TEXT = { subject: 'a/b', retries: '3', isurgent: 'true', tenant: 'Ole' };

export const SDK_ROWS: readonly SdkRow[] = [
  {
    title: 'HTTP.binary over fetch',
    name: 'js-binary',
    send: (url) => post(url, HTTP.binary(event('js-binary', { ...EXTENSIONS, data: ORDER }))),
    arrivals: [
      arrival('js-binary', {
        attributes: AS_TEXT,
        contentType: 'application/json; charset=utf-8',
        body: JSON.stringify(ORDER),
      }),
    ],
  },
  {
    title: 'HTTP.structured over fetch',
    name: 'js-structured',
    send: (url) =>
      post(url, HTTP.structured(event('js-structured', { ...EXTENSIONS, data: ORDER }))),
    arrivals: [
      arrival('js-structured', {
        attributes: AS_TEXT,
        contentType: 'application/json',
        body: JSON.stringify(ORDER),
      }),
    ],
  },
  {
    title: 'an emitter over fetch, binary, with an image',
    name: 'js-image',
    send: (url) =>
      emit(url, Mode.BINARY, event('js-image', { datacontenttype: 'image/png', data: ALL_BYTES })),
    arrivals: [arrival('js-image', { contentType: 'image/png', body: ALL_BYTES })],
  },
  {
    title: 'an emitter over fetch, structured, with an image',
    name: 'js-base64',
    send: (url) =>
      emit(
        url,
        Mode.STRUCTURED,
        event('js-base64', { datacontenttype: 'image/png', data: ALL_BYTES }),
      ),
    arrivals: [arrival('js-base64', { contentType: 'image/png', body: ALL_BYTES })],
  },
  {
    title: 'an emitter over its own transport, with text',
    name: 'js-text',
    async send(url) {
      const sent = event('js-text', { datacontenttype: 'text/plain', data: 'Zoë' });
      // Its answer has headers and a body, and no status.
      const { body } = (await emitterFor(httpTransport(url))(sent)) as { body: string };
      return body === '' ? 202 : 0;
    },
    arrivals: [arrival('js-text', { contentType: 'text/plain', body: 'Zoë' })],
  },
  {
    title: 'an event without data, with a subject beyond ASCII that it does not encode',
    name: 'js-nothing',
    send: (url) => post(url, HTTP.binary(event('js-nothing', { subject: 'Zoë' }))),
    arrivals: [
      arrival('js-nothing', {
        attributes: { subject: 'Zo%C3%AB' },
        contentType: 'application/json; charset=utf-8',
      }),
    ],
  },
  {
    title: 'an event of version 0.3',
    name: 'js-old',
    send: (url) =>
      post(
        url,
        HTTP.binary(
          event('js-old', {
            specversion: '0.3',
            datacontenttype: 'application/json',
            schemaurl: 'https://example.com/schema',
            data: ORDER,
          }),
        ),
      ),
    arrivals: [
      arrival('js-old', {
        attributes: { specversion: '0.3', schemaurl: 'https://example.com/schema' },
        contentType: 'application/json',
        body: JSON.stringify(ORDER),
      }),
    ],
  },
];
