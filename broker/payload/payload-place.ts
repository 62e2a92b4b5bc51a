/**
 * Where a payload is within a store: `<tenant>/<hour>/<id>`. Tenant and key come out of records, which anybody may have
 * written who can reach the log; no name passes that could lead out of the store.
 */
import { strict as assert } from 'node:assert';

import type { PayloadRef } from '../../core/event.ts';

export interface PayloadPlace {
  readonly tenant: string;
  /** `yyyymmddhh` */
  readonly hour: string;
  readonly id: string;
}

/** A name of Kubernetes; it never begins with `.` or `_`, which leaves those to the store's own files. */
const TENANT = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const HOUR = /^\d{10}$/;
/** 128 random bits, base64url. */
const ID = /^[A-Za-z0-9_-]{22}$/;

export const isTenant = (name: string): boolean => TENANT.test(name);
export const isHour = (name: string): boolean => HOUR.test(name);
export const isId = (name: string): boolean => ID.test(name);

/** Throws an AssertionError when a name is not one of ours. */
export function placeOf({ tenant, key }: Pick<PayloadRef, 'tenant' | 'key'>): PayloadPlace {
  const [hour = '', id = '', ...rest] = key.split('/');
  assert(isTenant(tenant), `no tenant: ${JSON.stringify(tenant)}`);
  assert(
    isHour(hour) && isId(id) && rest.length === 0,
    `no key of a payload: ${JSON.stringify(key)}`,
  );
  return { tenant, hour, id };
}
