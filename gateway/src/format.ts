/** Events and summaries as lines of text: NDJSON for programmes, or for people. */
import type { RowEvent, RunEvent, RunSummary } from './run-events.js';

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

function ms(value: number | null): string {
  return value === null ? 'none' : `${value.toFixed(1)} ms`;
}
