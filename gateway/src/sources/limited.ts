import type { Source, SourceRow } from './source.js';

/** The first rows of a source; all of them without a limit. */
export function limited(source: Source, limit: number | undefined): Source {
  if (limit === undefined) return source;
  return { name: source.name, [Symbol.asyncIterator]: () => take(source, limit) };
}

async function* take(source: Source, limit: number): AsyncGenerator<SourceRow, void> {
  for await (const row of source) {
    yield row;
    if (row.index + 1 >= limit) return;
  }
}
