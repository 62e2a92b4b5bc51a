/** Bytes in which a piece that is missing, doubled or in the wrong place would show: each four of them occur once. */
export function bytesOf(sizeBytes: number): Buffer {
  const words = new Uint32Array(Math.ceil(sizeBytes / 4));
  for (let index = 0; index < words.length; index += 1) words[index] = index;
  return Buffer.from(words.buffer, 0, sizeBytes);
}
