/** hops-equal.test.ts, on NATS JetStream. */
import { onJetStream } from '../on-jetstream.ts';

await onJetStream(() => import('../hops-equal.test.ts'));
