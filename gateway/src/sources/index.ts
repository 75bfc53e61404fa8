/** Where readings come from: the interface of a source, and CSV files. */
export { csvSource } from './csv.js';
export type { CsvOptions } from './csv.js';
export type { Source, SourceRow } from './source.js';
