/** Counts of what a training and a score ask of the arithmetic: played, not estimated. */
import type { ModularEngine } from '@duoveil/common/modular';
import { systemRandom, type RandomSource } from '@duoveil/common/random';

import { CountingEngine } from './counting-engine.js';
import type { Counts } from './operations.js';
import {
  packedTranscript,
  referenceTranscript,
  type Script,
  type Transcript,
} from './transcripts.js';

/** Of one suite. */
export interface SuiteCounts {
  /** Taking one sample in. */
  readonly ingest: Counts;
  /** A new patient's first training. */
  readonly train: Counts;
  /** A score against a model that was used before. */
  readonly score: Counts;
}

const transcripts = { packed: packedTranscript, reference: referenceTranscript } as const;

/** Play a suite over a counting engine; the engine's kind makes no difference to the counts. */
export async function countSuite(
  suite: keyof typeof transcripts,
  script: Script,
  engine: ModularEngine,
  random: RandomSource = systemRandom,
): Promise<SuiteCounts> {
  const counting = new CountingEngine(engine);
  const transcript: Transcript = await transcripts[suite](script, counting, random);
  // Tables that live as long as a server or a model are there already when the counting begins.
  if (suite === 'packed') {
    await transcript.train();
    await transcript.score();
  }
  const counted = async (step: () => Promise<unknown>): Promise<Counts> => {
    counting.take();
    await step();
    return counting.take();
  };
  const ingest = await counted(() => transcript.ingest());
  const train = await counted(() => transcript.train());
  // The model's own tables are made for its first score.
  if (suite === 'packed') await transcript.score();
  return { ingest, train, score: await counted(() => transcript.score()) };
}
