/** Where readings come from: the interface of a source, and the sources that there are. */
export { csvSource } from './csv.js';
export type { CsvOptions } from './csv.js';
export { fhirFileSource, fhirLinesSource } from './fhir.js';
export type { FhirOptions } from './fhir.js';
export type { CodedChannel } from './fhir-observation.js';
export { inOrder } from './in-order.js';
export type { OrderOptions } from './in-order.js';
export { fileInput, streamInput } from './inputs.js';
export type { Input } from './inputs.js';
export { limited } from './limited.js';
export { ndjsonSource } from './ndjson.js';
export type { NdjsonOptions } from './ndjson.js';
export { selectSource, SOURCE_KINDS, STANDARD_INPUT } from './select.js';
export type { SelectedSource, SourceKind, SourceSettings } from './select.js';
export type { OpenSource, Source, SourceRow } from './source.js';
export { wfdbSource } from './wfdb.js';
export type { WfdbOptions } from './wfdb.js';
