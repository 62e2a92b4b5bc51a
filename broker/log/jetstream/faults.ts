/** What the server and its client say, as errors of knear: the code a user sees, and what to do about it. */
import { JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';

import { KnearError, messageOf, type ErrorCode } from '../../../core/errors.ts';

/**
 * Of JetStream, for what it has no room for: maximum messages, bytes or consumers of a stream (10077, 10026), limits of the
 * account (10002, 10026, 10028, 10047) or of the server (10023, 10047). Source: nats-server, server/errors.json.
 */
const FULL: ReadonlySet<number> = new Set([10002, 10023, 10026, 10028, 10047, 10077]);

/**
 * Of JetStream, for an account that has no room for one more stream of ours: as many as it may have (10027), or none without
 * `max_bytes` (10113), or none of one replica (10120). Limits may have been set after knear looked at them (suitable.ts).
 */
const UNSUITABLE: ReadonlySet<number> = new Set([10027, 10113, 10120]);

/** Says of a request to the server why it failed. Faults of ours stay what they are. */
export function faultOf(error: unknown): unknown {
  if (error instanceof KnearError) return error;
  if (error instanceof JetStreamApiError) {
    if (FULL.has(error.code)) return fault('KNEAR_LOG_FULL', `JetStream: ${error.message}`, error);
    if (UNSUITABLE.has(error.code)) {
      const detail = `JetStream: ${error.message}: change the limits of the account of knear on the NATS server`;
      return fault('KNEAR_NATS_UNSUITABLE', detail, error);
    }
    return fault('KNEAR_LOG_FAILED', `JetStream: ${error.message} (${error.code})`, error);
  }
  if (isDenied(error)) {
    const detail = `${messageOf(error)}: grant the permissions of docs/nats.md to the user of knear`;
    return fault('KNEAR_NATS_DENIED', detail, error);
  }
  if (isNoResponders(error)) {
    const detail = 'nobody answers for the stream: it is gone, or JetStream is not enabled';
    return fault('KNEAR_LOG_FAILED', detail, error);
  }
  if (isAway(error)) {
    return fault('KNEAR_NATS_AWAY', `the NATS server does not answer: ${messageOf(error)}`, error);
  }
  return error;
}

/**
 * Says what keeps knear from a server that it wants to connect to, or has connected to, and what to do about it. Whatever it is,
 * it is tried again, so it is KNEAR_NATS_AWAY where nothing better is known.
 */
export function obstacleOf(error: unknown): KnearError {
  if (error instanceof KnearError) return error;
  const said = messageOf(error);
  if (isViolation(error)) {
    const detail = `The NATS server says ${said}: grant the permissions of docs/nats.md to the user of knear`;
    return fault('KNEAR_NATS_DENIED', detail, error);
  }
  if (isDenied(error)) {
    const detail = `The NATS server says ${said}: compare what the files of the nats settings hold with the users of the server, and whether it has expired; they are read again`;
    return fault('KNEAR_NATS_DENIED', detail, error);
  }
  if (error instanceof Error && error.name === 'JetStreamNotEnabled') {
    // A class of the client's that it does not give away.
    const whose = isNoResponders(error)
      ? 'on the NATS server: add a jetstream block to its configuration'
      : 'for the account of knear on the NATS server: enable it there';
    return fault('KNEAR_NATS_UNSUITABLE', `JetStream is not enabled ${whose}`, error);
  }
  if (error instanceof JetStreamApiError) {
    const detail = `JetStream is not ready (${said}): look at the NATS servers of the cluster`;
    return fault('KNEAR_NATS_AWAY', detail, error);
  }
  return tlsObstacleOf(error) ?? awayFault(error);
}

function tlsObstacleOf(error: unknown): KnearError | undefined {
  const said = reasonOf(error) ?? messageOf(error);
  const code = systemCodeOf(error);
  if (NOT_TRUSTED.test(code)) {
    const detail = `The certificate of the NATS server is not trusted (${said}): name the authority that issued it (natsCaFile), or the host that it is for (nats)`;
    return fault('KNEAR_NATS_UNSUITABLE', detail, error);
  }
  if (isCertificateRefusal(error)) {
    const detail = `The NATS server refuses the certificate of knear, or wants one (${said}): look at natsCertFile and natsKeyFile, they are read again`;
    return fault('KNEAR_NATS_DENIED', detail, error);
  }
  if (/server does not support 'tls'|'tls' is not available/.test(said)) {
    const detail =
      'The NATS server has no TLS, which tls:// or a file for TLS demands: configure its tls block, or take those settings off';
    return fault('KNEAR_NATS_UNSUITABLE', detail, error);
  }
  return undefined;
}

/** Of OpenSSL, whose messages have lines and places in its sources. */
function reasonOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  return 'reason' in error && typeof error.reason === 'string' ? error.reason : undefined;
}

function awayFault(error: unknown): KnearError {
  // Where a name has several addresses, Node.js gives an error for all of them, without a message.
  const said =
    error instanceof Error && error.message === '' ? systemCodeOf(error) : messageOf(error);
  const detail = `The NATS server does not answer (${said}): start it, or look at its address (nats) and at the network`;
  return fault('KNEAR_NATS_AWAY', detail, error);
}

/** Of Node.js, for a certificate that cannot be verified. Source: Node.js documentation, "TLS (SSL)", X509 certificate error codes. */
const NOT_TRUSTED =
  /^(CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_(CA|PURPOSE)|ERR_TLS_CERT_)/;
/** Of OpenSSL, for an alert of the other side. Source: RFC 8446, section 6.2. */
const REFUSED_CERTIFICATE =
  /^ERR_SSL_\S*ALERT_\S*(CERT|UNKNOWN_CA|HANDSHAKE_FAILURE|ACCESS_DENIED)/;

/** The other side of a TLS handshake does not want our certificate, or that there is none. */
export function isCertificateRefusal(error: unknown): boolean {
  return REFUSED_CERTIFICATE.test(systemCodeOf(error));
}

/** As Node.js names it, such as ECONNREFUSED: of the error, whatever realm it comes from, or of the one that the client wrapped. */
export function systemCodeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  return 'cause' in error ? systemCodeOf(error.cause) : '';
}

function fault(code: ErrorCode, detail: string, cause: unknown): KnearError {
  return new KnearError(code, detail, { cause });
}

export function isDenied(error: unknown): boolean {
  const cause = error instanceof errors.RequestError ? error.cause : error;
  return (
    cause instanceof errors.AuthorizationError ||
    cause instanceof errors.UserAuthenticationExpiredError ||
    isViolation(cause)
  );
}

/** Of the permissions of a user whom the server has let in. */
export function isViolation(error: unknown): boolean {
  const cause = error instanceof errors.RequestError ? error.cause : error;
  return cause instanceof errors.PermissionViolationError;
}

/** May the same request succeed when it is made again? Whether it was carried out is not known. */
export function isPassing(error: unknown): boolean {
  return isNoResponders(error) || isAway(error);
}

/** The client wraps it, and once more where it takes it for a JetStream that is not enabled. */
function isNoResponders(error: unknown): boolean {
  if (error instanceof errors.NoRespondersError) return true;
  return error instanceof Error && error.cause !== undefined && isNoResponders(error.cause);
}

function isAway(error: unknown): boolean {
  return (
    error instanceof errors.TimeoutError ||
    error instanceof errors.ClosedConnectionError ||
    error instanceof errors.DrainingConnectionError ||
    error instanceof errors.ConnectionError ||
    error instanceof errors.RequestError
  );
}
