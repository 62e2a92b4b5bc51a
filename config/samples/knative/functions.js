/**
 * All subscribers of the samples beside this file, in one small program that needs nothing but Node.js.
 *
 *   node config/samples/knative/functions.js [PORT]        at 127.0.0.1, port 18090 unless said; 0 is any free one
 *
 * It prints a line for each request: path, type and id of the event, its data, its extensions. What a function does
 * besides stands in its address, so that each sample tells by itself:
 *
 *   /any/path                     nothing: 202, no reply
 *   /any/path?append=TEXT         replies with TEXT at the end of the message in the data
 *   /any/path?type=TYPE           replies with an event of this type; together with `append`, does both
 *   /any/path?if=NAME:VALUE       a filter: replies with the event as it came if its data has this, else with nothing
 *   /any/path?case=N&of=M         a switch: the same if the `number` in its data, divided by M, leaves N
 *   /any/path?status=S            answers with the status S; with `times=N`, only the first N times for each event
 *   /any/path?status=S&after=T    the same with `Retry-After: T`
 *   /any/path?wait=MS             answers, whatever it is, so many milliseconds later
 */
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

/** Path and id of an event -> how often it has come. */
const visits = new Map();

const server = createServer((request, response) => {
  handle(request, response).catch((error) => response.writeHead(400).end(`${error}\n`));
});
server.listen(Number(process.argv[2] ?? 18_090), '127.0.0.1', () => {
  console.log(`functions at http://127.0.0.1:${server.address().port}`);
});

async function handle(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://functions');
  const options = Object.fromEntries(searchParams);
  const event = eventOf(request.headers, await text(request));
  print(pathname, event);
  await new Promise((resolve) => setTimeout(resolve, Number(options.wait ?? 0)));
  if (isRefused(pathname, event, options)) {
    const headers = options.after === undefined ? {} : { 'retry-after': options.after };
    response.writeHead(Number(options.status), headers).end('not now\n');
    return;
  }
  const reply = replyOf(pathname, event, options);
  if (reply === undefined) response.writeHead(202).end();
  else send(response, reply);
}

/** Its attributes and `data`, in whichever mode it came; JSON is all that the samples send. */
function eventOf(headers, body) {
  const data = body === '' ? undefined : JSON.parse(body);
  const isStructured = headers['content-type']?.startsWith('application/cloudevents+json');
  if (isStructured) return { mode: 'structured', ...data };
  const attributes = Object.entries(headers)
    .filter(([name]) => name.startsWith('ce-'))
    .map(([name, value]) => [name.slice(3), decodeURIComponent(value)]);
  return { mode: 'binary', ...Object.fromEntries(attributes), data };
}

/** What every event has, and what a Broker or a dead letter adds that is long and always another. */
const NOT_SHOWN = [
  'specversion',
  'source',
  'time',
  'datacontenttype',
  'knativearrivaltime',
  'knativebrokerttl',
];

/** `/path  type  id  {"message":"hello"}  name=value ...` */
function print(path, { type, id, data, mode, ...others }) {
  const extensions = Object.entries(others)
    .filter(([name]) => !NOT_SHOWN.includes(name) && name !== 'knativeerrordata')
    .map(([name, value]) => `${name}=${value}`);
  const notes = mode === 'structured' ? [mode, ...extensions] : extensions;
  console.log([path, type, id, JSON.stringify(data ?? ''), ...notes.sort()].join('  '));
}

function isRefused(path, { id }, { status, times = Infinity }) {
  if (status === undefined) return false;
  const key = `${path} ${id}`;
  visits.set(key, (visits.get(key) ?? 0) + 1);
  return visits.get(key) <= Number(times);
}

function replyOf(path, event, options) {
  const { append, type, if: wanted, case: remainder, of } = options;
  if (wanted !== undefined) {
    const [name, value] = wanted.split(':');
    return String(event.data?.[name]) === value ? event : undefined;
  }
  if (remainder !== undefined) {
    return event.data?.number % Number(of) === Number(remainder) ? event : undefined;
  }
  if (append === undefined && type === undefined) return undefined;
  return {
    ...event,
    // Another event, so another source: with the old one, id and source together would name both.
    source: `/functions${path}`,
    type: type ?? event.type,
    data: { ...event.data, message: `${event.data?.message ?? ''}${append ?? ''}` },
  };
}

function send(response, { data, mode, datacontenttype, knativearrivaltime, ...attributes }) {
  const headers = Object.entries(attributes).map(([name, value]) => [
    `ce-${name}`,
    encodeURI(value),
  ]);
  response.writeHead(200, {
    ...Object.fromEntries(headers),
    'content-type': 'application/json',
  });
  response.end(JSON.stringify(data));
}
