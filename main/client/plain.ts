/** Nothing in it that a terminal obeys: controls, and marks that turn the direction of a text. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/gu, '·');
}
