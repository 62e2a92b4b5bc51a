/** hot-reload.test.ts, on NATS JetStream. */
import { onJetStream } from '../on-jetstream.ts';

await onJetStream(() => import('../hot-reload.test.ts'));
