/** IP addresses of endpoints and Pods: one spelling for each, and those that lead nowhere but to whoever calls them. */
import { isIPv4, isIPv6 } from 'node:net';

/** The shortest spelling, in lower case; `undefined`: it is none, or one of a single interface (`fe80::1%eth0`). */
export function canonicalIp(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!isIPv6(text)) return undefined;
  const ip = URL.parse(`http://[${text}]`)?.hostname.slice(1, -1);
  return ip === undefined ? undefined : (mappedIp(ip) ?? ip);
}

/** The IPv4 address that an IPv6 address is written for: `::ffff:7f00:1` is 127.0.0.1. Source: RFC 4291, 2.5.5.2. */
function mappedIp(ip: string): string | undefined {
  const halves = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(ip)?.slice(1);
  return halves
    ?.map((half) => Number.parseInt(half, 16))
    .flatMap((half) => [half >> 8, half & 255])
    .join('.');
}

/** Unspecified, loopback and link-local: no Pod is there for others. Source: RFC 6890; RFC 4291, 2.4. */
const OWN = /^0\.|^127\.|^169\.254\.|^::1?$|^fe[89ab][0-9a-f]:/;

/** @param ip as `canonicalIp` gives it. */
export function isNobodyElse(ip: string): boolean {
  return OWN.test(ip);
}
