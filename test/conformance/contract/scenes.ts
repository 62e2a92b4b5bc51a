/** Resources, answers and addresses that many rows have in common. */
import { broker, channel, subscription, trigger, type Manifest } from '../../e2e/manifests.ts';
import { binary } from '../../e2e/producer.ts';
import type { Reply, Script } from '../../e2e/subscriber.ts';
import type { Place } from './rows.ts';

/** Where events for the channel `main` go. */
export const TO_CHANNEL = 'channels/main';

type Scene = (place: Place) => readonly Manifest[];

const ONCE = { retry: 0 };

/** The sink `dead`. */
export function dead({ url }: Place) {
  return { deadLetterSink: { uri: url('dead') } };
}

/** A Broker `main`, and a Trigger `all` that takes everything to `sub`. */
export function brokered(delivery: object = ONCE): Scene {
  return ({ url }) => [broker('main'), trigger('all', { subscriber: url('sub'), delivery })];
}

/** The same with the dead letter sink `dead`; another subscriber if it is given. */
export function failing(delivery: object, subscriber?: (place: Place) => string): Scene {
  return (place) => [
    broker('main'),
    trigger('all', {
      subscriber: subscriber?.(place) ?? place.url('sub'),
      delivery: { ...delivery, ...dead(place) },
    }),
  ];
}

/** A Trigger for the type `asked`, to `sub`, with the sink `dead`, and one for `answered`, to `answers`. */
export function asking(delivery: object = ONCE): Scene {
  return (place) => [
    broker('main'),
    trigger('asked', {
      filter: { type: 'asked' },
      subscriber: place.url('sub'),
      delivery: { ...delivery, ...dead(place) },
    }),
    trigger('answered', { filter: { type: 'answered' }, subscriber: place.url('answers') }),
  ];
}

/** A channel `main`, and a Subscription `all` of it to `sub`. */
export function channelled(delivery: object = ONCE): Scene {
  return ({ url }) => [
    channel('main'),
    subscription('all', { channel: 'main', subscriber: url('sub'), delivery }),
  ];
}

/** The same with the reply address `reply` and the dead letter sink `dead`. */
export function replying(delivery: object = ONCE): Scene {
  return (place) => [
    channel('main'),
    subscription('all', {
      channel: 'main',
      subscriber: place.url('sub'),
      reply: place.url('reply'),
      delivery: { ...delivery, ...dead(place) },
    }),
  ];
}

/** A reply of the type `answered`, in binary mode. */
export function answered(headers: Readonly<Record<string, string>> = {}): Reply {
  return {
    status: 200,
    headers: { ...binary({ id: 'r1', type: 'answered' }), ...headers },
    body: 'the answer',
  };
}

/** Fails so many times, then takes it. */
export function failFirst(count: number, reply: Reply = { status: 500 }): Script {
  return ({ nth }) => (nth <= count ? reply : {});
}

export function base64(bytes: string | Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
