/**
 * What this log says of payloads: nothing yet. Its messages name them, but nobody has counted which, so each may be needed:
 * none is removed, by knear or by command.
 */
import { KnearError } from '../../../core/errors.ts';
import type { ClaimLedger } from '../../../core/ports/claims.ts';

export const NO_LEDGER: ClaimLedger = {
  isKept: false,
  claim() {
    throw unlisted();
  },
  claims() {
    throw unlisted();
  },
  redact: () => Promise.reject(unlisted()),
};

function unlisted(): KnearError {
  return new KnearError(
    'KNEAR_PAYLOAD_UNLISTED',
    'a log in NATS keeps no list of payloads, so none is listed, redacted or removed: docs/nats.md tells what to do about old ones',
  );
}
