/** "Did you mean": the known word that a mistyped one most likely stands for. */

/**
 * The closest of `candidates`, or `undefined` when none is close. Upper and lower case count as equal, because
 * `deadlettersink` for `deadLetterSink` is the commonest slip of all.
 */
export function closest(word: string, candidates: Iterable<string>): string | undefined {
  // A slip in three letters, and two in four for letters that changed places, still read as the same word.
  let best = Math.ceil(word.length / 3) + 1;
  let found: string | undefined;
  for (const candidate of candidates) {
    // A difference in length is a lower bound for the distance: it spares long unknown words the whole table.
    if (Math.abs(candidate.length - word.length) >= best) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < best) [best, found] = [distance, candidate];
  }
  return found;
}

/** `; did you mean x?`, or nothing: to be put behind the sentence about the unknown word. */
export function suggestion(word: string, candidates: Iterable<string>): string {
  const found = closest(word, candidates);
  return found === undefined ? '' : `; did you mean ${found}?`;
}

/** Levenshtein's distance, one row at a time. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...to].entries()) {
      const substituted = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(substituted, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
