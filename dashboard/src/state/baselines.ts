import type { PatientDetail } from '../api/types.js';

/** Has a baseline been learnt that is not listed yet? */
export function lacksBaseline({
  model,
  baselines,
}: Pick<PatientDetail, 'model' | 'baselines'>): boolean {
  return baselines.every((listed) => listed.model < model) && model > 0;
}
