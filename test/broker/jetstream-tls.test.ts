/**
 * Goal: knear speaks TLS with whom it can trust and with nobody else, and says which file is in the way. Method: real servers with
 * certificates made for the test (`nats-identities.ts`).
 */
import { describe, expect, test } from '@jest/globals';

import type { NatsOptions } from '../../broker/log/jetstream/connection.ts';
import type { Nats } from '../servers/nats.ts';
import { expectObstacle, expectUsable, useAttempts } from './nats-attempts.ts';
import { writeCertificates } from './nats-identities.ts';

const attempts = useAttempts();
const { attempt, everythingSaid, openServer } = attempts;

describe('TLS', () => {
  const tlsBlock = ({ certFile, keyFile }: { certFile: string; keyFile: string }, more = '') =>
    `tls { cert_file: ${JSON.stringify(certFile)}, key_file: ${JSON.stringify(keyFile)} ${more} }`;
  const byName = (server: Nats, protocol = 'tls') => `${protocol}://localhost:${server.port}`;

  test('is spoken with a server whose authority is known, and with no other', async () => {
    const files = await writeCertificates(attempts.folder);
    const server = await openServer({ config: tlsBlock(files.server) });
    const open = await attempt(byName(server), { tls: { caFile: files.caFile } }).link;
    expect(open.info.isTls).toBe(true);
    await expectUsable(open);
    for (const tls of [undefined, { caFile: files.otherCaFile }]) {
      const tried = attempt(byName(server), tls && { tls });
      await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /not trusted.*natsCaFile/);
    }
  });

  test('is not believed under another name', async () => {
    const files = await writeCertificates(attempts.folder);
    const server = await openServer({ config: tlsBlock(files.elsewhere) });
    const tried = attempt(byName(server), { tls: { caFile: files.caFile } });
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /not trusted.*the host that it is for/);
  });

  test('needs a certificate of ours where the server wants one', async () => {
    const files = await writeCertificates(attempts.folder);
    const { caFile, client, otherClient } = files;
    const more = `, ca_file: ${JSON.stringify(caFile)}, verify: true`;
    const server = await openServer({ config: tlsBlock(files.server, more) });
    const open = await attempt(byName(server), { tls: { caFile, ...client } }).link;
    await expectUsable(open);
    const refused = [{}, otherClient].map((pair) =>
      attempt(byName(server), { tls: { caFile, ...pair } }),
    );
    for (const tried of refused) {
      await expectObstacle(tried, 'KNEAR_NATS_DENIED', /certificate of knear.*natsCertFile/);
    }
  });

  test('is spoken where the server demands it, also without tls://', async () => {
    const files = await writeCertificates(attempts.folder);
    const server = await openServer({ config: tlsBlock(files.server) });
    const tried = attempt(byName(server, 'nats'));
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /not trusted/);
    const open = await attempt(byName(server, 'nats'), { tls: { caFile: files.caFile } }).link;
    expect(open.info.isTls).toBe(true);
  });

  test('needs a key that belongs to the certificate', async () => {
    const { caFile, client, otherClient } = await writeCertificates(attempts.folder);
    const tls = { caFile, certFile: client.certFile, keyFile: otherClient.keyFile };
    const tried = attempt('tls://localhost:1', { tls });
    const words = `${tls.keyFile} does not belong to ${tls.certFile}`;
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', words);
    expect(await everythingSaid(tried)).not.toContain('PRIVATE KEY');
  });

  test.each<[string, string, Partial<NatsOptions>]>([
    ['a URL', 'tls', {}],
    ['a file', 'nats', { tls: {} }],
  ])('is demanded by %s', async (_name, protocol, options) => {
    const server = await openServer();
    const tried = attempt(byName(server, protocol), options);
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /has no TLS/);
  });
});
