/** channels.test.ts, on NATS JetStream. */
import { onJetStream } from '../on-jetstream.ts';

await onJetStream(() => import('../channels.test.ts'));
