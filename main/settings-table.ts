/**
 * Every setting of knear, in one table. Command line flags, `KNEAR_*` variables, the keys of the settings file, the help
 * text and docs/settings.md (checked by a test) all come from it, so they cannot disagree.
 *
 * A setting `adminPort` is the flag `--admin-port`, the variable `KNEAR_ADMIN_PORT` and the key `adminPort`.
 */
import { CLAIM_STORE, LIMITS } from '../controller/claims.ts';

/** pino's levels. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Of what the NATS server has confirmed: does it survive the end of its process, or of its machine? */
export const NATS_DURABILITIES = ['process', 'machine'] as const;
export type NatsDurability = (typeof NATS_DURABILITIES)[number];

/** Whether events may go on without the log. */
export const LOCAL_HOPS = ['chain', 'off'] as const;
export type LocalHop = (typeof LOCAL_HOPS)[number];

export interface SettingRow {
  readonly kind: WordKind | NumberKind;
  /** As a user would write it; `undefined`: `defaultText` says what happens then. */
  readonly default?: string;
  readonly defaultText?: string;
  readonly min?: string;
  readonly max?: string;
  /** What it is, and why it has this default. */
  readonly help: string;
}

type WordKind =
  | 'folder'
  | 'file'
  | 'host'
  | 'name'
  | 'level'
  | 'url'
  | 'servers'
  | 'prefix'
  | 'durability'
  | 'places'
  | 'hop'
  | 'store'
  | 'flag';

export type NumberKind = 'port' | 'count' | 'size' | 'duration' | 'share';

/** The longest delay a Node timer can hold is 2^31 - 1 ms, 24.8 days; a longer one would fire at once. */
const TIMER_MAX = 'P24D';

export const SETTINGS = {
  resources: {
    kind: 'folder',
    defaultText: 'the shipped samples, with their functions',
    help: 'Folder of YAML files with Brokers, Triggers, Channels and Subscriptions; read again when a file changes.',
  },
  data: {
    kind: 'folder',
    default: '.knear',
    help: 'Folder of the event log, created when missing. One process at a time owns it. Must be on a local disk.',
  },
  host: {
    kind: 'host',
    default: '127.0.0.1',
    help: 'Address on which events are taken. Nobody is authenticated here, so only this machine may call by default; 0.0.0.0 opens it to the network.',
  },
  port: {
    kind: 'port',
    default: '8080',
    min: '0',
    max: '65535',
    help: 'Port on which events are taken; 0 takes any free one. 8080 is what Knative uses.',
  },
  adminHost: {
    kind: 'host',
    default: '127.0.0.1',
    help: 'Address of health, metrics and resource status. Separate from the door, so that it can stay private.',
  },
  adminPort: {
    kind: 'port',
    default: '9090',
    min: '0',
    max: '65535',
    help: 'Port of health, metrics and resource status; 0 takes any free one.',
  },
  logLevel: {
    kind: 'level',
    default: 'info',
    help: 'How much is logged: info is changes of state, debug is every event, silent is nothing.',
  },
  logSizeMax: {
    kind: 'size',
    default: '32Gi',
    min: '16Mi',
    max: '65536Gi',
    help: 'Size up to which the event log may grow. Above 90 % of it new events are refused with 503; the file never shrinks. 32Gi holds some fifteen million waiting events of 1 KB.',
  },
  logReserve: {
    kind: 'size',
    default: '256Mi',
    min: '0',
    max: '65536Gi',
    help: 'Space that the disk of the log keeps free, or 5 % of the disk if that is more: below it new events are refused with 503, so that what was taken can still be settled.',
  },
  nats: {
    kind: 'servers',
    defaultText: 'none: the embedded log',
    help: 'NATS servers whose JetStream keeps the events, one or several of a cluster. tls:// demands TLS of all of them. Without it, events are in the folder data, which needs no other program.',
  },
  natsPrefix: {
    kind: 'prefix',
    default: 'kn',
    help: 'First part of the names of all subjects and streams on the NATS server. Two installations on one account need different ones. Short, since it is sent with each event; another one finds nothing of what waits under the first.',
  },
  natsUser: {
    kind: 'name',
    defaultText: 'none',
    help: 'User of the NATS server, with natsPasswordFile.',
  },
  natsPasswordFile: {
    kind: 'file',
    defaultText: 'none',
    help: 'File with the password of natsUser. A file, as all secrets are: flags are in the list of processes. Read at each connection, so a new one needs no restart.',
  },
  natsTokenFile: {
    kind: 'file',
    defaultText: 'none',
    help: 'File with a token that the NATS server asks for instead of a user. Read at each connection.',
  },
  natsNkeyFile: {
    kind: 'file',
    defaultText: 'none',
    help: 'File with the seed (SU...) of the NKey by which the NATS server knows knear. Read at each connection.',
  },
  natsCredentialsFile: {
    kind: 'file',
    defaultText: 'none',
    help: 'File with a JWT and its seed (.creds), for a NATS server with operator and accounts. Read at each connection.',
  },
  natsCaFile: {
    kind: 'file',
    defaultText: 'the authorities that Node.js trusts',
    help: 'File with the certificates (PEM) of the authorities that vouch for the NATS server. Demands TLS. Read at each connection.',
  },
  natsCertFile: {
    kind: 'file',
    defaultText: 'none',
    help: 'File with the certificate (PEM) by which knear shows the NATS server who it is, with natsKeyFile. Demands TLS. Read at each connection.',
  },
  natsKeyFile: {
    kind: 'file',
    defaultText: 'none',
    help: 'File with the private key (PEM) of natsCertFile. Read at each connection.',
  },
  natsDurability: {
    kind: 'durability',
    default: 'process',
    help: 'What the events that the NATS server has confirmed survive: process, the end of its process; machine, that of its machine, too. The server tells nobody, so this repeats what its administrator says: machine only where its sync_interval is always. By default it writes to the disk every two minutes, hence process.',
  },
  natsStreamMax: {
    kind: 'size',
    default: '1Gi',
    min: '64Ki',
    max: '65536Gi',
    help: 'Bytes that wait for one Broker on the NATS server. Above 90 % of it new events are refused with 503, so that what was taken can still be settled. 1Gi holds half a million waiting events of 1 KB; many Brokers share the disk of the server. Must hold the largest record (claimCheckInlineMax, attributesMax).',
  },
  eventMax: {
    kind: 'size',
    default: '256Mi',
    ...LIMITS.eventMax,
    help: 'Largest data of one event; more is refused with 413. Large data is kept beside the log and never held in memory as a whole (docs/claim-check.md). 256Mi is a large file and no film.',
  },
  attributesMax: {
    kind: 'size',
    default: '16Ki',
    ...LIMITS.attributesMax,
    help: "Largest attributes and kept headers of one event, counted as header lines; more is refused with 413. 16Ki is the limit of Node's HTTP parser, thus of most subscribers.",
  },
  claimCheckStore: {
    kind: 'store',
    default: CLAIM_STORE,
    help: 'Where large data is kept: file is a folder.',
  },
  claimCheckFolder: {
    kind: 'folder',
    defaultText: 'payloads below data',
    help: 'Folder of large data. Processes that share a NATS server share this folder, too, and each has a folder data of its own.',
  },
  claimCheckInlineMax: {
    kind: 'size',
    default: '1Mi',
    ...LIMITS.inlineMax,
    help: 'Largest record (attributes and data) that the log keeps itself; of a larger one, the payload store keeps the data. 0: no data is in the log. Up to 1Mi the embedded log is the faster place of the two.',
  },
  claimCheckReplyMax: {
    kind: 'size',
    defaultText: 'eventMax',
    ...LIMITS.replyMax,
    help: 'Largest data of a reply; more is a failure for good, since the same event would lead to the same reply.',
  },
  claimCheckBatchMax: {
    kind: 'size',
    default: '16Mi',
    ...LIMITS.batchMax,
    help: 'Largest body of a batch; more is refused with 413. A batch is held in memory, since all of it is taken or none.',
  },
  claimCheckQuota: {
    kind: 'size',
    defaultText: 'none',
    ...LIMITS.quota,
    help: 'Bytes of payloads that one namespace may have in the store; past them its large events are refused with 503. Must hold the largest event (eventMax) and reply (claimCheckReplyMax).',
  },
  claimCheckUploadsMax: {
    kind: 'count',
    default: '64',
    min: '1',
    max: '4096',
    help: 'Large bodies that are taken in at a time, of producers and of replies; more are refused with 429. Each has a file open and half a megabyte in memory.',
  },
  claimCheckSpoolMax: {
    kind: 'size',
    default: '8Gi',
    min: '3Gi',
    max: '65536Gi',
    help: 'Bytes of large bodies that are not whole yet, on the disk of data; past them more are refused with 503. Never less than one event of the largest size needs, in whatever form it comes.',
  },
  claimCheckFreeMin: {
    kind: 'size',
    default: '1Gi',
    min: '0',
    max: '65536Gi',
    help: 'Space that the disk of data keeps free of payloads beyond logReserve, or 5 % of the disk if that is more: below it large events are refused with 503 while small ones go on.',
  },
  claimCheckUploadIdle: {
    kind: 'duration',
    default: 'PT30S',
    min: 'PT1S',
    max: 'PT1H',
    help: 'Longest time without a byte of a body; then it is given up with 408.',
  },
  claimCheckUploadRateMin: {
    kind: 'size',
    default: '1Ki',
    min: '1',
    max: '1Gi',
    help: 'Bytes a second that a body has to bring on average once it has lasted a minute; a slower one is given up with 408.',
  },
  claimCheckUploadMax: {
    kind: 'duration',
    default: 'PT1H',
    min: 'PT1S',
    max: TIMER_MAX,
    help: 'Longest time for one body, however steadily it comes; then it is given up with 408. In an hour, 256 MiB come at 75 KB/s.',
  },
  claimCheckDeliverIdle: {
    kind: 'duration',
    default: 'PT60S',
    min: 'PT0.001S',
    max: TIMER_MAX,
    help: 'Longest time without progress while large data goes out, where the resource names no timeout (delivery.timeout); deliverTimeout then counts from its last byte.',
  },
  claimCheckCacheMax: {
    kind: 'size',
    default: '24Mi',
    min: '0',
    max: '64Gi',
    help: 'Bytes of payloads kept in memory, so that several subscribers of one event do not read it from the disk each; as much again may be on its way to them. 0 keeps none.',
  },
  claimCheckCollectInterval: {
    kind: 'duration',
    default: 'PT10M',
    min: 'PT1S',
    max: TIMER_MAX,
    help: 'How often payloads that no event needs and that could not be removed at once are tried again. What a crash has left goes at the next start.',
  },
  claimCheckDryRun: {
    kind: 'flag',
    default: 'false',
    help: 'Keeps what a crash has left: nothing is removed at the start. For the first start after a restore.',
  },
  backoffMax: {
    kind: 'duration',
    default: 'PT1H',
    min: 'PT0S',
    max: TIMER_MAX,
    help: 'Longest wait between two attempts: the 30th retry of an exponential backoff would otherwise come after decades.',
  },
  deliverTimeout: {
    kind: 'duration',
    default: 'PT10M',
    min: 'PT0.001S',
    max: TIMER_MAX,
    help: 'Time for one attempt where the resource names none (delivery.timeout). Long, since a subscriber may work before it answers; a dead one is noticed by its connection.',
  },
  drain: {
    kind: 'duration',
    default: 'PT30S',
    min: 'PT0S',
    max: 'PT1H',
    help: 'Time that attempts in progress have to finish after SIGTERM; what does not is delivered again after the next start. 30 s is the grace period of Kubernetes: give the pod some seconds more.',
  },
  openDeliveriesMax: {
    kind: 'count',
    default: '1000',
    min: '1',
    max: '100000',
    help: 'Deliveries held at a time, being sent or waiting in memory; the others wait in the log.',
  },
  openBytesMax: {
    kind: 'size',
    default: '64Mi',
    min: '2Mi',
    max: '64Gi',
    help: 'Bytes of the deliveries held at a time, without data that the payload store keeps. This decides how much memory knear needs. Never less than the largest record (claimCheckInlineMax, attributesMax).',
  },
  slotsMax: {
    kind: 'count',
    default: '256',
    min: '1',
    max: '10000',
    help: 'Requests in flight for one Trigger or Subscription. The number adapts between 1 and this: it grows while answers stay fast and halves on timeouts, resets, 429 and 503.',
  },
  pod: {
    kind: 'name',
    defaultText: 'not known',
    help: 'UID of the Pod that knear shares with subscribers (metadata.uid, by the downward API). What is in it is called first.',
  },
  node: {
    kind: 'name',
    defaultText: 'not known',
    help: 'Name of the node that knear runs on (spec.nodeName). Endpoints on it are called before those on others. See docs/placement.md.',
  },
  zone: {
    kind: 'name',
    defaultText: 'not known',
    help: 'Zone that knear runs in (the label topology.kubernetes.io/zone of its node). Endpoints in it are called before those in others.',
  },
  places: {
    kind: 'places',
    defaultText: 'one, as pod, node and zone say',
    help: 'To try placement on one machine: this process delivers as if it ran in each of these places, so it hosts a dispatcher for each. Instead of pod, node and zone.',
  },
  localHop: {
    kind: 'hop',
    defaultText: 'chain with --nats, off on the embedded log',
    help: 'chain: what a subscriber answers goes on to a next subscriber in the same place without passing the log (docs/local-hop.md, also on why the default differs). An annotation knear.dev/local-hop decides for a resource.',
  },
  parkedMax: {
    kind: 'count',
    default: '1000',
    min: '1',
    max: '10000000',
    help: 'Parked events kept for one Trigger or Subscription; past it the oldest is dropped and counted, never the newest.',
  },
  parkedBytesMax: {
    kind: 'size',
    default: '64Mi',
    min: '1Ki',
    max: '65536Gi',
    help: 'Bytes of parked events kept for one Trigger or Subscription; past it the oldest is dropped and counted, never the newest.',
  },
  parkedAge: {
    kind: 'duration',
    default: 'P7D',
    min: 'PT1S',
    max: 'P3650D',
    help: 'Age at which parked events are dropped and counted. A week survives a holiday; events with personal data should not stay for ever.',
  },
  goneAfter: {
    kind: 'duration',
    default: 'PT10M',
    min: 'PT0S',
    max: TIMER_MAX,
    help: 'Time for which the waiting events of a deleted Trigger or Subscription are kept: created again under the same identity within it, it goes on where it was.',
  },
  explainEvents: {
    kind: 'count',
    default: '1000',
    min: '0',
    max: '100000',
    help: 'Events that knear explain can tell of: this many that went well, as many with failed attempts, and as many that were parked, dead-lettered or dropped, without their data. A thousand of each take some 5 MB; 0 remembers nothing.',
  },
  tracingEndpoint: {
    kind: 'url',
    defaultText: 'none: no spans are recorded',
    help: 'Where spans go: the traces address of an OpenTelemetry collector, OTLP over HTTP with JSON, such as http://localhost:4318/v1/traces; without a path, that one is meant. See docs/tracing.md.',
  },
  tracingSampling: {
    kind: 'share',
    default: '1',
    min: '0',
    max: '1',
    help: 'Share of the traces that begin here which are recorded: 1 is all, 0 none. A trace that an event brings along is recorded if its producer records it, whatever the share. Has no effect without tracingEndpoint.',
  },
} as const satisfies Record<string, SettingRow>;

export type SettingName = keyof typeof SETTINGS;

// The names as a typed list: the table above has exactly these keys.
export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

/** `adminPort` -> `--admin-port`. */
export function flagOf(name: string): string {
  return `--${words(name).join('-').toLowerCase()}`;
}

/** `adminPort` -> `KNEAR_ADMIN_PORT`. */
export function variableOf(name: string): string {
  return `KNEAR_${words(name).join('_').toUpperCase()}`;
}

function words(name: string): string[] {
  return name.split(/(?=[A-Z])/);
}
