/** Events and summaries as lines of text: NDJSON for programmes, or for people. */
import type { RowEvent, RunEvent, RunSummary } from './run-events.js';
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
  switch (event.kind) {
    case 'learning':
      return { index, learning: true };
    case 'skipped':
      return { index, skipped: event.reason };
    case 'scored': {
      const { outlier, statistic, latencyMs } = event;
      const told =
        statistic.kind === 'distance'
          ? { md2: statistic.squaredDistance }
          : { level: statistic.level };
      return { index, outlier, ...told, latencyMs };
    }
  }
}

/** An event as a line for people, without the newline. */
export function readableLine(event: RunEvent): string {
  if (event.kind === 'trained') return `baseline ${event.model} trained in ${ms(event.trainMs)}`;
  const row = `row ${String(event.index).padEnd(6)}`;
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
