/** The admin server with these routes and nothing to tell beside, at a free port of this machine. */
import { openAdmin, type Admin, type AdminRoute } from '../../main/admin.ts';

export function openBareAdmin(routes: readonly AdminRoute[]): Promise<Admin> {
  return openAdmin({
    host: '127.0.0.1',
    port: 0,
    metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
    health: () => ({ reasons: [] }),
    resources: () => [],
    problems: () => [],
    routes,
  });
}
