/** The drawing of a time line, on a canvas by uPlot. Colours are those of `tokens.css`. */
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

import type { LevelPoint, PatientDetail } from '../api/types.js';
import { stretches } from '../state/timeline.js';
import { clockTime } from '../state/wording.js';

/** A chart's height in pixels. */
export const CHART_HEIGHT = 220;

/** What is marked behind the line. */
export interface Marks {
  readonly points: readonly LevelPoint[];
  readonly detail: PatientDetail;
}

/**
 * Make a chart.
 * @param marks asked for at each drawing
 * @param onPoint told the time under the pointer, in seconds; undefined when it has left
 */
export function createChart(
  place: HTMLElement,
  highestLevel: number,
  marks: () => Marks,
  onPoint: (seconds: number | undefined) => void,
): uPlot {
  const colours = readColours(place);
  const axis = {
    stroke: colours.text,
    grid: { stroke: colours.grid, width: 1 },
    ticks: { stroke: colours.grid, width: 1, size: 4 },
    font: '12px system-ui, sans-serif',
  };
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  const options: uPlot.Options = {
    width: place.clientWidth,
    height: CHART_HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, y: false, points: { show: false } },
    scales: {
      x: { time: true },
      // Room for the lowest line's own width, and for the baselines' names above the highest.
      y: { range: [-0.1, highestLevel + 0.45] },
    },
    axes: [
      {
        ...axis,
        space: 80,
        size: 32,
        values: (_, times) => times.map((at) => clockTime(at * 1_000)),
      },
      {
        ...axis,
        size: 44,
        splits: Array.from({ length: highestLevel + 1 }, (_, level) => level),
        values: (_, levels) => levels.map((level) => `L ${level}`),
      },
    ],
    series: [
      {},
      {
        stroke: colours.line,
        fill: colours.fill,
        width: 2,
        ...(stepped === undefined ? {} : { paths: stepped }),
        points: { show: false },
        spanGaps: false,
      },
    ],
    hooks: {
      drawClear: [
        (chart) => {
          drawBehind(chart, marks(), colours);
        },
      ],
      draw: [
        (chart) => {
          drawBaselines(chart, marks(), colours);
        },
      ],
      setCursor: [
        ({ cursor, data }) => {
          onPoint(typeof cursor.idx === 'number' ? data[0][cursor.idx] : undefined);
        },
      ],
    },
  };
  return new uPlot(options, [[], []], place);
}

type Colours = ReturnType<typeof readColours>;

function readColours(place: HTMLElement) {
  const style = getComputedStyle(place);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  return {
    text: colour('--text-quiet'),
    grid: colour('--border'),
    line: colour('--chart-line'),
    fill: colour('--chart-fill'),
    alarm: colour('--chart-alarm'),
    learning: colour('--chart-learning'),
    gap: colour('--chart-gap'),
    baseline: colour('--accent'),
  };
}

/** Learning, gaps and level alarms as coloured stretches. */
function drawBehind(chart: uPlot, { points, detail }: Marks, colours: Colours): void {
  const fill = (fromMs: number, toMs: number, colour: string, hatched: boolean): void => {
    drawStretch(chart, fromMs / 1_000, toMs / 1_000, colour, hatched);
  };
  for (const { what, fromMs, toMs } of stretches(points)) {
    fill(fromMs, toMs, colours[what], what === 'gap');
  }
  const end = points.at(-1)?.[1] ?? 0;
  for (const { kind, raisedAt, clearedAt } of detail.history) {
    if (kind !== 'level') continue;
    const toMs = clearedAt === undefined ? end : Date.parse(clearedAt);
    fill(Date.parse(raisedAt), toMs, colours.alarm, false);
  }
}

function drawStretch(
  chart: uPlot,
  from: number,
  to: number,
  colour: string,
  hatched: boolean,
): void {
  const { left, top, width, height } = chart.bbox;
  const within = (seconds: number): number =>
    Math.min(left + width, Math.max(left, chart.valToPos(seconds, 'x', true)));
  const [start, end] = [within(from), within(to)];
  if (end <= start) return;
  const { ctx } = chart;
  ctx.save();
  ctx.beginPath();
  ctx.rect(start, top, end - start, height);
  ctx.clip();
  if (hatched) hatch(ctx, start, end, top, height, colour);
  else {
    ctx.fillStyle = colour;
    ctx.fillRect(start, top, end - start, height);
  }
  ctx.restore();
}

function hatch(
  ctx: CanvasRenderingContext2D,
  start: number,
  end: number,
  top: number,
  height: number,
  colour: string,
): void {
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2;
  ctx.beginPath();
  for (let x = start - height; x < end; x += 12) {
    ctx.moveTo(x, top + height);
    ctx.lineTo(x + height, top);
  }
  ctx.stroke();
}

/** A line where a baseline took over, with its number. */
function drawBaselines(chart: uPlot, { points, detail }: Marks, colours: Colours): void {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio;
  const [first, last] = [points[0]?.[1] ?? 0, points.at(-1)?.[1] ?? 0];
  ctx.save();
  ctx.strokeStyle = colours.baseline;
  ctx.fillStyle = colours.baseline;
  ctx.lineWidth = ratio;
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = 'left';
  ctx.textBaseline = 'alphabetic';
  ctx.setLineDash([4 * ratio, 4 * ratio]);
  for (const { model, throughSequence, trainedAt } of detail.baselines) {
    const at = timeOf(points, throughSequence) ?? Date.parse(trainedAt);
    if (at < first || at > last) continue;
    const x = Math.round(chart.valToPos(at / 1_000, 'x', true)) + 0.5;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(`baseline ${model}`, x + 4 * ratio, bbox.top + 12 * ratio);
  }
  ctx.restore();
}

function timeOf(points: readonly LevelPoint[], sequence: number): number | undefined {
  const first = points[0]?.[0];
  return first === undefined ? undefined : points[sequence - first]?.[1];
}
