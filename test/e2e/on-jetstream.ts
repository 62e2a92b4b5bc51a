/**
 * Tests that do not know what the program keeps its events in, on NATS JetStream. A file that loads them is all that it takes:
 *
 *   await onJetStream(() => import('../delivery.test.ts'));
 *
 * What differs there on purpose is in test/conformance/contract/jetstream/differences.test.ts.
 */
import { afterAll, beforeAll } from '@jest/globals';
import { openNats, type Nats } from '../servers/nats.ts';
import { jetStream, useEngine } from './engine.ts';

/** One server is there for all of the tests, from before their first hook on. */
export async function onJetStream(load: () => Promise<unknown>): Promise<void> {
  let server: Nats | undefined;
  beforeAll(async () => {
    server = await openNats();
  });
  // Before the hooks of the tests, which are defined later: they find their programs without a server, and kill them.
  afterAll(() => server?.close());
  useEngine(
    jetStream(() => {
      if (!server)
        throw new Error('a program starts in a hook or a test, not while its file is loaded');
      return server;
    }),
  );
  await load();
}
