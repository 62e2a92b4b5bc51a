/** knative-samples.test.ts, on NATS JetStream. */
import { onJetStream } from '../on-jetstream.ts';

await onJetStream(() => import('../knative-samples.test.ts'));
