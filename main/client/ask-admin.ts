/** How commands ask the admin server of a running knear: with patience, and with errors that say what to do. */
import { codeOf, KnearError, messageOf } from '../../core/errors.ts';
import { INTENT_HEADER } from '../intent.ts';
import { systemClock as clock } from '../time.ts';

/** An admin server answers from memory. */
const PATIENCE_MS = 5_000;

export interface AskOptions {
  /** Goes as JSON in a POST; absent: a GET. */
  readonly body?: object;
  /** 5 s unless said. */
  readonly patienceMs?: number;
}

/**
 * What it answers, as parsed JSON.
 * @param adminUrl e.g. `http://127.0.0.1:9090`
 * @param path with its query, e.g. `/resources`
 * @throws KNEAR_ADMIN_UNREACHABLE when no knear answers; the error of a problem document with a code of ours.
 */
export async function askAdmin(
  adminUrl: string,
  path: string,
  { body, patienceMs = PATIENCE_MS }: AskOptions = {},
): Promise<unknown> {
  const patience = new AbortController();
  const timer = clock.after(patienceMs, () => {
    patience.abort(new Error(`no answer within ${patienceMs} ms`));
  });
  const post = body && {
    method: 'POST',
    headers: { [INTENT_HEADER]: 'yes', 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
  try {
    const response = await fetch(new URL(path, adminUrl), { ...post, signal: patience.signal });
    if (!response.ok) throw await problemOf(response);
    return await response.json();
  } catch (cause) {
    throw asAdminError(adminUrl, cause);
  } finally {
    timer.cancel();
  }
}

/**
 * The bytes that it answers with, as they come. Its iteration fails when the connection breaks.
 * @throws as `askAdmin`
 */
export async function readAdmin(
  adminUrl: string,
  path: string,
): Promise<AsyncIterable<Uint8Array>> {
  try {
    const response = await fetch(new URL(path, adminUrl));
    if (!response.ok || response.body === null) throw await problemOf(response);
    return response.body;
  } catch (cause) {
    throw asAdminError(adminUrl, cause);
  }
}

function asAdminError(adminUrl: string, cause: unknown): unknown {
  if (codeOf(cause) !== undefined) return cause;
  const why = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause;
  return new KnearError(
    'KNEAR_ADMIN_UNREACHABLE',
    `no knear answers at ${adminUrl} (${messageOf(why)}): start knear serve, or say where it is with --admin-url`,
    { cause },
  );
}

/** What a knear says is wrong, or that it is none that answers. */
async function problemOf(response: Response): Promise<Error> {
  const isProblem = response.headers.get('content-type')?.includes('application/problem+json');
  // A problem document is an object (RFC 9457); what is in it is looked at below.
  const problem = isProblem
    ? ((await response.json()) as { code?: unknown; detail?: unknown })
    : {};
  const code = codeOf(problem);
  return code !== undefined && typeof problem.detail === 'string'
    ? new KnearError(code, problem.detail)
    : new Error(`status ${response.status}`);
}
