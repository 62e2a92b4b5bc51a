/** What the program tells at /metrics: the text format of Prometheus, as far as rows read it. Pure. */

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** All samples of one metric; none where the program has not told of it. @throws on a value that is no number. */
export function samplesOf(text: string, name: string): Sample[] {
  // `name{label="value",...} 12`: label values may hold spaces, braces and escaped quotes.
  const line = new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm');
  return Array.from(text.matchAll(line), ([whole, labels = '', figure]) => {
    const value = Number(figure);
    if (Number.isNaN(value)) throw new Error(`not a number: ${whole}`);
    return { labels: labelsOf(labels), value };
  });
}

/** @throws when there is none, so that a metric which was renamed is noticed. */
export function totalOf(text: string, name: string): number {
  const samples = samplesOf(text, name);
  if (samples.length === 0) throw new Error(`knear serve tells no ${name}`);
  return samples.reduce((sum, { value }) => sum + value, 0);
}

function labelsOf(text: string): Record<string, string> {
  const pairs = text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g);
  return Object.fromEntries(Array.from(pairs, ([, name = '', value = '']) => [name, value]));
}
