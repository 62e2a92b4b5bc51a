/** channels.test.ts, on NATS JetStream. */
import { onJetStream } from '../../../e2e/on-jetstream.ts';

await onJetStream(() => import('../channels.test.ts'));
