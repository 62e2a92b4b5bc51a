/** The rules for what many kinds have in common: destinations, their certificates, and how deliveries are tried. */
import { X509Certificate } from 'node:crypto';
import type { DeliverySpec, Destination, KReference } from '../../core/resources.ts';
import { durationMs } from '../delivery.ts';
import { fault, under, type Fault } from './faults.ts';

/** Source: knative.dev/pkg, `ValidateDestination` of duck/v1. It looks at certificates next to `uri` only. */
export function destinationFaults(destination: Destination | undefined): Fault[] {
  if (destination === undefined) return [];
  const { ref, uri, CACerts } = destination;
  return [
    ...(ref === undefined && uri === undefined ? [fault('one of ref and uri is needed')] : []),
    ...(ref !== undefined && uri !== undefined && !isRelative(uri)
      ? [fault('must be relative next to ref', 'uri')]
      : []),
    ...(ref === undefined && uri !== undefined && !isAbsolute(uri)
      ? [fault('needs a scheme and a host, as in http://host/path, when there is no ref', 'uri')]
      : []),
    ...(uri !== undefined && CACerts !== undefined
      ? under(['CACerts'], certificateFaults(CACerts))
      : []),
  ];
}

function isRelative(uri: string): boolean {
  // The second test finds `//host/path` in all its spellings.
  const base = 'http://relative.invalid';
  return !/^[a-z][-a-z0-9+.]*:/i.test(uri) && URL.parse(uri, base)?.origin === base;
}

/** Any scheme will do: `bad://uri` is loaded, and fails when it is delivered to (Knative's tests want that). */
function isAbsolute(uri: string): boolean {
  return /^[a-z][-a-z0-9+.]*:\/\/[^/?#]/i.test(uri) && URL.canParse(uri);
}

/** As Knative, only the first one is looked at: text around the blocks is allowed, and what follows may be anything. */
function certificateFaults(pem: string): Fault[] {
  const start = pem.indexOf('-----BEGIN ');
  const label = pem.slice(start + '-----BEGIN '.length).split('-----', 1)[0] ?? '';
  const end = `-----END ${label}-----`;
  const length = pem.indexOf(end, start) - start;
  if (start < 0 || length < 0) {
    return [fault('not in PEM: it has a line -----BEGIN CERTIFICATE----- and one with END')];
  }
  if (label !== 'CERTIFICATE') return [fault(`a CERTIFICATE is needed, not a ${label}`)];
  try {
    new X509Certificate(pem.slice(start, start + length + end.length));
    return [];
  } catch {
    // Whatever OpenSSL says about it helps nobody who has only the text.
    return [fault('the certificate cannot be read')];
  }
}

/** Knative's flag `cross-namespace-event-links`, off by default. */
export function otherNamespaceFaults(ref: KReference | undefined, own: string): Fault[] {
  return ref?.namespace === undefined || ref.namespace === '' || ref.namespace === own
    ? []
    : [fault(`must be ${own}, the namespace of the resource itself, or absent`, 'namespace')];
}

/** Source: Knative Eventing, `Validate` of duck/v1 DeliverySpec, with its flags for `timeout` and `retryAfterMax` on. */
export function deliveryFaults(delivery: DeliverySpec | undefined): Fault[] {
  if (delivery === undefined) return [];
  const { backoffDelay, timeout, retryAfterMax } = delivery;
  const durations = { backoffDelay, timeout, retryAfterMax };
  return [
    ...under(['deadLetterSink'], destinationFaults(delivery.deadLetterSink)),
    ...Object.entries(durations)
      .filter(([, text]) => text !== undefined && durationMs(text) === undefined)
      .map(([field]) => fault('not an ISO 8601 duration such as PT0.2S', field)),
    ...(timeout !== undefined && durationMs(timeout) === 0
      ? [fault('must be above zero', 'timeout')]
      : []),
  ];
}
