import { useEffect, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';

import type { LevelPoint, PatientDetail } from '../api/types.js';
import { columns } from '../state/timeline.js';
import { clockTime, describeLevel, describeRecent } from '../state/wording.js';
import { CHART_HEIGHT, createChart, type Marks } from './chart.js';
import { useMedia } from './windowed.js';

/** A patient's levels over time, with alarms, baselines and gaps marked. */
export function TimelineChart(props: { points: readonly LevelPoint[]; detail: PatientDetail }) {
  const { points, detail } = props;
  const { highestLevel } = detail;
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(undefined);
  const marks = useRef<Marks>({ points, detail });
  const [pointed, setPointed] = useState<number>();
  const dark = useMedia('(prefers-color-scheme: dark)');
  marks.current = { points, detail };

  useEffect(() => {
    const element = place.current;
    if (element === null) return undefined;
    const made = createChart(element, highestLevel, () => marks.current, setPointed);
    chart.current = made;
    const observer = new ResizeObserver(() => {
      made.setSize({ width: element.clientWidth, height: CHART_HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
    // Its colours are taken when it is made.
  }, [highestLevel, dark]);

  useEffect(() => {
    chart.current?.setData(columns(points));
  }, [points, detail, dark]);

  const text = describeRecent(points);
  return (
    <>
      <div class="chart" ref={place} role="img" aria-label={`Levels over time: ${text}`} />
      <p class="readout">{readout(points, pointed, highestLevel)}</p>
    </>
  );
}

/** What the pointer is on; without one, the last sample. */
function readout(
  points: readonly LevelPoint[],
  seconds: number | undefined,
  highestLevel: number,
): string {
  const ms = seconds === undefined ? undefined : seconds * 1_000;
  const point =
    ms === undefined ? points.at(-1) : (points.findLast(([, at]) => at <= ms + 1) ?? points[0]);
  if (point === undefined) return '';
  const [sequence, at, level] = point;
  return `${clockTime(at)}: ${describeLevel(level, highestLevel)}, sample ${sequence.toLocaleString()}`;
}
