/** What a patient's baseline goes on from, for who takes it elsewhere. */
import type { Patient, Store } from '../store/index.js';

/**
 * The sequence numbers of the samples that the model in force was trained on, and, of a baseline that
 * is learnt still or rolls on, those accepted since; ascending. Who is given these, in this order, by
 * the same policy, has the same baseline then, and trains anew after the same sample.
 */
export async function baselineSamples(
  { books, models, decisions }: Store,
  { id, policy }: Patient,
): Promise<readonly number[]> {
  const { book } = await books.read(id);
  const floor = book.relearning?.after ?? 0;
  const latest = await models.latest(id);
  const model = latest && latest.throughSequence > floor ? latest : undefined;
  const trained = model?.throughSequence ?? floor;
  const { window, baseline } = policy;
  const trainedOn =
    model === undefined ? [] : await decisions.accepted(id, window, trained, trained);
  const learns = model === undefined || baseline === 'rolling';
  const since = learns ? await decisions.accepted(id, 0, trained) : [];
  return [
    ...trainedOn.filter((sequence) => sequence > floor).slice(-window),
    ...since.filter((sequence) => sequence > trained),
  ];
}
