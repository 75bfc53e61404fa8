import { describeLevel } from '../state/wording.js';

/** How bad a level is among those that there are: 0 as usual, 3 the worst third. */
export function severity(level: number, highestLevel: number): 0 | 1 | 2 | 3 {
  if (level <= 0) return 0;
  return Math.min(3, Math.max(1, Math.ceil((3 * level) / highestLevel))) as 1 | 2 | 3;
}

/** A level with a bar of as many parts: the number and the parts say it, the colour helps. */
export function Level({ level, highestLevel }: { level: number; highestLevel: number }) {
  const text = describeLevel(level, highestLevel);
  if (level < 0) return <span class="level none">{text}</span>;
  return (
    <span class={`level severity-${severity(level, highestLevel)}`}>
      <span class="meter" aria-hidden="true">
        {Array.from({ length: Math.min(highestLevel, 15) }, (_, i) => (
          <span key={i} class={i < level ? 'part on' : 'part'} />
        ))}
      </span>
      <span class="level-text">
        <span class="visually-hidden">level </span>
        <b>{level}</b> of {highestLevel}
      </span>
    </span>
  );
}
