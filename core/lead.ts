/** What only the leading process may change, where several could. */
import { KnearError } from './errors.ts';

/** Absent: nobody else could. Asked at the last moment: a process may have stood still since it decided to change something. */
export type MayChange = () => boolean;

/** @throws KNEAR_LEASE_GONE when another process may lead by now (N21, Z5) */
export function requireLead(mayChange: MayChange | undefined): void {
  if (!mayChange || mayChange()) return;
  throw new KnearError('KNEAR_LEASE_GONE', 'another controller may lead by now');
}
