import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';

import { isScored, type RowEvent, type ScoredEvent, type Summary } from './events.js';

/** What is about to be run, for the heading. */
export interface RunDescription {
  readonly input: string;
  readonly schema: Schema;
  readonly policy: MonitoringPolicy;
  readonly keyBits: number;
  readonly generator: string;
}

/** Tells somebody, or some program, how a run goes. */
export interface Reporter {
  begin(description: RunDescription): void;
  /** A stage begins. */
  stage(what: string): void;
  /** A stage has ended; what came of it. */
  stageDone(outcome: string): void;
  row(event: RowEvent): void;
  /** Something to know beside the results: a restart, a warning. */
  notice(line: string): void;
  summary(summary: Summary): void;
}

/** NDJSON on standard output and nothing else there. */
export class JsonReporter implements Reporter {
  begin({ input }: RunDescription): void {
    this.notice(`running ${input}`);
  }

  stage(what: string): void {
    this.notice(what);
  }

  stageDone(outcome: string): void {
    this.notice(outcome);
  }

  row(event: RowEvent): void {
    process.stdout.write(`${JSON.stringify(event)}\n`);
  }

  notice(line: string): void {
    process.stderr.write(`${line}\n`);
  }

  summary(summary: Summary): void {
    process.stdout.write(`${JSON.stringify({ summary })}\n`);
  }
}

/** Flagged rows that the closing table shows one by one. */
const SHOWN_FLAGS = 20;

/** Progress on standard error while it lasts, a closing table on standard output. */
export class PersonReporter implements Reporter {
  readonly #terminal = process.stderr.isTTY;
  readonly #flagged: ScoredEvent[] = [];
  #learning = 0;
  #scored = 0;
  #skipped = 0;
  #window = 0;
  #stageStartedMs = 0;
  #lastProgressMs = 0;
  #description: RunDescription | undefined;

  begin(description: RunDescription): void {
    this.#description = description;
    this.#window = description.policy.window;
    const { input, schema, policy, keyBits, generator } = description;
    const channels = schema.channels.map(({ name }) => name).join(', ');
    const thresholds = [policy.thresholdScaled, ...policy.higherThresholdsScaled]
      .map((scaled) => (Number(scaled) / 2 ** 16).toFixed(3))
      .join(', ');
    const baseline =
      policy.baseline === 'fixed'
        ? `the first ${String(policy.window)} complete samples`
        : `the last ${String(policy.window)} accepted samples, learnt again after every ${String(policy.retrainEvery)}`;
    this.#line(`duoveil: ${input}`);
    this.#line(`  channels   ${channels}`);
    this.#line(`  baseline   ${baseline}`);
    this.#line(`  outlier    squared Mahalanobis distance above ${thresholds}`);
    this.#line(`  protocol   ${policy.suite} suite, ${policy.output} output`);
    this.#line(`  key        ${String(keyBits)} bits, ${generator} generator`);
    this.#line('');
  }

  stage(what: string): void {
    this.#stageStartedMs = performance.now();
    if (this.#terminal) process.stderr.write(`${what} ...`);
    else this.#line(`${what} ...`);
  }

  stageDone(outcome: string): void {
    const seconds = ((performance.now() - this.#stageStartedMs) / 1000).toFixed(1);
    this.#line(`${this.#terminal ? ' ' : '  '}${outcome} (${seconds} s)`);
  }

  row(event: RowEvent): void {
    if (isScored(event)) {
      this.#scored += 1;
      if (event.outlier) this.#flagged.push(event);
    } else if ('learning' in event) this.#learning += 1;
    else this.#skipped += 1;
    this.#progress();
  }

  notice(line: string): void {
    if (this.#terminal) process.stderr.write('\r\u001b[K');
    this.#line(line);
  }

  summary(summary: Summary): void {
    this.#progress(true);
    if (this.#terminal) this.#line('');
    const ms = (value: number | null): string => (value === null ? '-' : `${value.toFixed(1)} ms`);
    const rows: [string, string][] = [
      ['rows', String(summary.rows)],
      ['learning', String(this.#learning)],
      ['scored', String(summary.scored)],
      ['flagged', String(summary.outliers)],
      ['skipped', String(summary.skipped)],
      ['training', ms(summary.trainMs)],
      ['a decision, median', ms(summary.scoreMsMedian)],
      ['a sample on the wire', `${String(summary.bytesPerSample)} bytes`],
    ];
    const width = Math.max(...rows.map(([name]) => name.length));
    process.stdout.write('\n');
    for (const [name, value] of rows) {
      process.stdout.write(`  ${name.padEnd(width)}  ${value.padStart(12)}\n`);
    }
    this.#flaggedTable();
  }

  #flaggedTable(): void {
    if (this.#flagged.length === 0) return;
    const distance = this.#description?.policy.output === 'distance';
    process.stdout.write(
      `\n  flagged row   ${distance ? '       MD²' : '     level'}   decided in\n`,
    );
    for (const { index, md2, level, latencyMs } of this.#flagged.slice(0, SHOWN_FLAGS)) {
      const value = md2 === undefined ? String(level) : md2.toFixed(3);
      process.stdout.write(
        `  ${String(index).padStart(11)}   ${value.padStart(10)}   ${latencyMs.toFixed(1).padStart(7)} ms\n`,
      );
    }
    const more = this.#flagged.length - SHOWN_FLAGS;
    if (more > 0) process.stdout.write(`  ... and ${String(more)} more\n`);
  }

  #progress(last = false): void {
    const now = performance.now();
    if (!last && now - this.#lastProgressMs < (this.#terminal ? 100 : 5_000)) return;
    this.#lastProgressMs = now;
    const text =
      this.#scored === 0
        ? `  learning ${String(this.#learning)} of ${String(this.#window)}`
        : `  scored ${String(this.#scored)}, flagged ${String(this.#flagged.length)}` +
          (this.#skipped > 0 ? `, skipped ${String(this.#skipped)}` : '');
    if (this.#terminal) process.stderr.write(`\r\u001b[K${text}`);
    else this.#line(text);
  }

  #line(text: string): void {
    process.stderr.write(`${text}\n`);
  }
}
