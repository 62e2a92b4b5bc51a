/** What requests to the admin server have in common: named members, and none that nobody knows. */
import { KnearError } from '../../core/errors.ts';

/** @param remedy what to say instead. @throws KNEAR_USAGE */
export function membersOf(body: unknown, remedy?: string): Readonly<Record<string, unknown>> {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) {
    // Any object; each member is looked at.
    return body as Readonly<Record<string, unknown>>;
  }
  const hint = remedy === undefined ? '' : `: ${remedy}`;
  throw new KnearError('KNEAR_USAGE', `the body must be a JSON object${hint}`);
}

/** @param rest what is left when all that is known is taken out. @throws KNEAR_USAGE */
export function refuseOthers(rest: object, known: string): void {
  const [name] = Object.keys(rest);
  if (name === undefined) return;
  throw new KnearError('KNEAR_USAGE', `there is no ${name} here: ${known} are known`);
}
