import { UNSCORABLE, LEARNING, type LevelPoint } from '../api/types.js';
import { describeRecent } from '../state/wording.js';
import { severity } from './level.js';

/** Places for samples, and the size of one, in units of the drawing. */
const PLACES = 60;
const WIDTH = 4;
const HEIGHT = 28;
const BASE = 3;

type Tone = 'learning' | 'unscorable' | 'severity-0' | 'severity-1' | 'severity-2' | 'severity-3';

const TONES: readonly Tone[] = [
  ...(['learning', 'unscorable', 'severity-0', 'severity-1'] as const),
  ...(['severity-2', 'severity-3'] as const),
];

/** The last samples as bars, the newest at the right: the higher the level, the higher the bar. */
export function Strip(props: { recent: readonly LevelPoint[]; highestLevel: number }) {
  const { recent, highestLevel } = props;
  const paths = draw(recent, highestLevel);
  return (
    <svg
      class="strip"
      viewBox={`0 0 ${PLACES * WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={describeRecent(recent)}
    >
      {TONES.map((tone) => (
        <path key={tone} class={tone} d={paths[tone]} />
      ))}
    </svg>
  );
}

/** One path a tone: a few elements a row, however many samples. */
function draw(recent: readonly LevelPoint[], highestLevel: number): Record<Tone, string> {
  const paths = Object.fromEntries(TONES.map((tone) => [tone, ''])) as Record<Tone, string>;
  const first = PLACES - Math.min(PLACES, recent.length);
  recent.slice(-PLACES).forEach(([, , level], i) => {
    const height = level <= 0 ? BASE : BASE + ((HEIGHT - BASE) * level) / highestLevel;
    const x = (first + i) * WIDTH;
    paths[toneOf(level, highestLevel)] +=
      `M${x} ${HEIGHT}V${HEIGHT - height}H${x + WIDTH - 1}V${HEIGHT}Z`;
  });
  return paths;
}

function toneOf(level: number, highestLevel: number): Tone {
  if (level === LEARNING) return 'learning';
  return level === UNSCORABLE ? 'unscorable' : `severity-${severity(level, highestLevel)}`;
}
