import { clockTime } from '../state/wording.js';

/** A point in time: local, and in full when asked. */
export function Time({ at }: { at: string | number | Date }) {
  const iso = new Date(at).toISOString();
  return (
    <time dateTime={iso} title={iso}>
      {clockTime(at)}
    </time>
  );
}
