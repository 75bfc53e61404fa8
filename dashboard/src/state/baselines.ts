import { LEARNING, type PatientDetail } from '../api/types.js';

/** Whether samples have levels again after some were learnt from, by a baseline that is not listed yet. */
export function lacksBaseline({
  recent,
  baselines,
}: Pick<PatientDetail, 'recent' | 'baselines'>): boolean {
  const learnt = recent.findLast(([, , level]) => level === LEARNING)?.[0] ?? 0;
  const isOver = recent.at(-1)?.[2] !== LEARNING;
  return isOver && baselines.every(({ throughSequence }) => throughSequence < learnt) && learnt > 0;
}
