/** Whether two texts name the same unit: files and devices write it in many ways. */

/** Ways to write a unit that vital signs come in; the first is UCUM's. */
const SAME: readonly (readonly string[])[] = [
  [
    ...['/min', '1/min', '{beats}/min', '{breaths}/min', 'beats/min', 'breaths/min'],
    ...['beats/minute', 'breaths/minute', 'bpm', 'brpm', 'pm'],
  ],
  ['%', 'percent'],
  ['mm[Hg]', 'mmHg'],
  ['Cel', '°C', 'degC', 'C'],
  ['[degF]', '°F', 'degF', 'F'],
];

const canonical = new Map(SAME.flatMap((ways) => ways.map((way) => [way, ways[0] ?? way])));

/**
 * Do both name the same unit? No unit (an empty text) is the same as any: there is nothing to compare.
 * Units that are not known here are the same when they are written alike.
 */
export function isSameUnit(one: string, other: string): boolean {
  const [a, b] = [one.trim(), other.trim()];
  if (a === '' || b === '') return true;
  return (canonical.get(a) ?? a) === (canonical.get(b) ?? b);
}
