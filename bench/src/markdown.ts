/** What the tables of the documentation are made of. */

/** Two lines between which a part of a document stands. */
export interface Markers {
  readonly begin: string;
  readonly end: string;
}

/** The document with another text between two markers. @throws RangeError where it has none */
export function replacedBetween(document: string, markers: Markers, text: string): string {
  const [begin, end] = [document.indexOf(markers.begin), document.indexOf(markers.end)];
  if (begin < 0 || end < begin) throw new RangeError('the document has no place for the tables');
  const head = document.slice(0, begin + markers.begin.length);
  return `${head}\n\n${text}\n\n${document.slice(end)}`;
}

/** A time as a person reads it; a dash for none. */
export function milliseconds(value: number | undefined): string {
  if (value === undefined) return '-';
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  if (value >= 100) return `${value.toFixed(0)} ms`;
  return `${value >= 1 ? value.toFixed(1) : value.toPrecision(2)} ms`;
}

/** As the formatter would write it: columns filled up with spaces. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = heading.map((title, i) =>
    Math.max(3, title.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  return [line(heading), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)];
}
