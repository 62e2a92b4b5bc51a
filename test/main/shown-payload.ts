import type { PayloadRef } from '../../core/event.ts';

/** A ticket for nothing, for tests that only show it. */
export const SHOWN: PayloadRef = {
  v: 1,
  store: 'file',
  tenant: 'default',
  key: '2026050408/Zm9vYmFyYmF6cXV4MTIzNA',
  sizeBytes: 50_000_000,
  sha256: 'LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ',
  createdMs: Date.UTC(2026, 4, 4, 8),
};
