/** Events and summaries as lines of text: NDJSON for programmes, or for people. */
import type { LiveEvent, RowEvent, RunEvent, RunSummary, TrainedEvent } from './run-events.js';
import type { BaselineStatistics } from './statistics.js';

/** A row's event as a line of NDJSON, without the newline; undefined for what has no line there. */
export function jsonLine(event: RunEvent): string | undefined {
  return event.kind === 'trained' ? undefined : JSON.stringify(jsonRow(event));
}

/** The last line of NDJSON, without the newline. */
export function jsonSummary(summary: RunSummary): string {
  // The lines tell what was learnt from.
  return JSON.stringify({ summary: { ...summary, learning: undefined } });
}

function jsonRow(event: RowEvent): Record<string, unknown> {
  const { index } = event;
  return { index, ...jsonResult(event) };
}

function jsonResult(event: RowEvent | Exclude<LiveEvent, TrainedEvent>): Record<string, unknown> {
  switch (event.kind) {
    case 'learning':
      return { learning: true };
    case 'skipped':
      return { skipped: event.reason };
    case 'scored': {
      const { outlier, statistic, latencyMs } = event;
      const told =
        statistic.kind === 'distance'
          ? { md2: statistic.squaredDistance }
          : { level: statistic.level };
      return { outlier, ...told, latencyMs };
    }
  }
}

/** The same for an event of a live run: with the sample's sequence number, or a skipped row's time. */
export function jsonLiveLine(event: LiveEvent): string | undefined {
  if (event.kind === 'trained') return undefined;
  const time = event.sequence === undefined ? momentOf(event.measuredAt) : undefined;
  return JSON.stringify({ sequence: event.sequence, time, ...jsonResult(event) });
}

function momentOf(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

/** An event as a line for people, without the newline. */
export function readableLine(event: RunEvent): string {
  if (event.kind === 'trained') return `baseline ${event.model} trained in ${ms(event.trainMs)}`;
  return readableResult(`row ${String(event.index).padEnd(6)}`, event);
}

/** The same for an event of a live run. */
export function readableLiveLine(event: LiveEvent): string {
  if (event.kind === 'trained') return `baseline ${event.model} trained in ${ms(event.trainMs)}`;
  const sample =
    event.sequence === undefined
      ? (momentOf(event.measuredAt) ?? 'a row')
      : `sample ${String(event.sequence).padEnd(6)}`;
  return readableResult(sample, event);
}

function readableResult(row: string, event: RowEvent | Exclude<LiveEvent, TrainedEvent>): string {
  switch (event.kind) {
    case 'learning':
      return `${row}  learning`;
    case 'skipped':
      return `${row}  skipped: ${event.reason}`;
    case 'scored': {
      const { outlier, statistic, latencyMs } = event;
      const told =
        statistic.kind === 'distance'
          ? `MD² ${statistic.squaredDistance.toFixed(2)}`
          : `level ${statistic.level}`;
      return `${row}  ${outlier ? 'OUTLIER' : 'ok     '}  ${told.padEnd(12)}  ${ms(latencyMs)}`;
    }
  }
}

/** A summary as lines for people, without the last newline. */
export function readableSummary(summary: RunSummary): string {
  const { rows, learning, scored, outliers, skipped, trainMs, scoreMsMedian } = summary;
  return [
    `${rows} rows: ${learning} learnt from, ${scored} scored (${outliers} outliers), ${skipped} skipped`,
    `training ${ms(trainMs)}, a score ${ms(scoreMsMedian)} (medians); ` +
      `${summary.bytesPerSample} bytes a sample; suite ${summary.suite}, ${summary.output} output, ` +
      `${summary.keyBits}-bit modulus`,
  ].join('\n');
}

/** Statistics as lines for people. */
export function readableStatistics({
  model,
  throughSequence,
  window,
  channels,
  mean,
  covariance,
}: BaselineStatistics): string[] {
  const cells = (values: readonly number[]): string =>
    values.map((value) => value.toFixed(3).padStart(11)).join('');
  const names = channels.map((name) => name.padStart(11)).join('');
  return [
    `baseline ${model}: ${window} samples, up to sample ${throughSequence}`,
    `${' '.repeat(12)}${names}`,
    `${'mean'.padEnd(12)}${cells(mean)}`,
    'covariance',
    ...channels.map((name, j) => `  ${name.padEnd(10)}${cells(covariance[j] ?? [])}`),
  ];
}

function ms(value: number | null): string {
  return value === null ? 'none' : `${value.toFixed(1)} ms`;
}
