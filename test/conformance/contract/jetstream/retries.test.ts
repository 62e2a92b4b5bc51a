/** retries.test.ts, on NATS JetStream. */
import { onJetStream } from '../../../e2e/on-jetstream.ts';

await onJetStream(() => import('../retries.test.ts'));
