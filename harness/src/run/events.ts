import { z } from 'zod';

/** What `duoveil gateway stream --json` prints, a line each; the first four are also what `duoveil run` prints. */
const learning = z.strictObject({ index: z.int(), learning: z.literal(true) });
const skipped = z.strictObject({ index: z.int(), skipped: z.string() });
const scored = z.strictObject({
  index: z.int(),
  outlier: z.boolean(),
  md2: z.number().optional(),
  level: z.int().optional(),
  latencyMs: z.number(),
});
const row = z.union([learning, skipped, scored]);
const summary = z.strictObject({
  summary: z.strictObject({
    rows: z.int(),
    scored: z.int(),
    outliers: z.int(),
    skipped: z.int(),
    trainMs: z.number().nullable(),
    scoreMsMedian: z.number().nullable(),
    bytesPerSample: z.int(),
    suite: z.string(),
    output: z.string(),
    keyBits: z.int(),
  }),
});
const event = z.union([row, summary]);

/** The result for one data row. */
export type RowEvent = z.output<typeof row>;

/** The result for a row that was scored. */
export type ScoredEvent = z.output<typeof scored>;

/** The closing line. */
export type Summary = z.output<typeof summary>['summary'];

/** One line. */
export type StreamEvent = z.output<typeof event>;

/** @throws where the line is none of these: a defect of the gateway. */
export function parseEvent(line: string): StreamEvent {
  return event.parse(JSON.parse(line));
}

export function isScored(result: RowEvent): result is ScoredEvent {
  return 'outlier' in result;
}
