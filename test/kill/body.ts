/** The data of an event, which follows from its id, so that whoever gets it can tell whether it is whole. */
export function bodyOf(id: string, sizeBytes: number): Buffer {
  return sizeBytes === 0 ? Buffer.alloc(0) : Buffer.alloc(sizeBytes, `${id} `);
}
