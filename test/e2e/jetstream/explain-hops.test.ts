/** explain-hops.test.ts, on NATS JetStream. */
import { onJetStream } from '../on-jetstream.ts';

await onJetStream(() => import('../explain-hops.test.ts'));
