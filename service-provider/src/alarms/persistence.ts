/**
 * How many of the last scored samples reached a level: what level alarms are raised and cleared by.
 * It follows from the decisions alone, so after a restart it is folded from the last of them anew.
 */
import type { Outcome } from '../store/outcomes.js';
import type { LevelRule } from './alarm.js';

/** What a sample says about levels: a level from 0; nothing; or that a baseline is learnt anew. */
export type Observation = number | 'nothing' | 'anew';

/** What an outcome says about levels. Of a distance it is known on which side of the threshold it is. */
export function observationOf(outcome: Outcome): Observation {
  if (outcome.kind === 'unscorable') return 'nothing';
  if (outcome.kind === 'learning') return 'anew';
  const { statistic, outlier } = outcome;
  return statistic.kind === 'level' ? statistic.level : Number(outlier);
}

/** The last levels of one patient, as far back as any rule looks. */
export class Persistence {
  readonly #rules: readonly LevelRule[];
  /** A ring; as long as the longest rule. */
  readonly #levels: Uint8Array;
  /** Of the last `of` samples of each rule, how many have its level. */
  #counts: readonly number[];
  #seen = 0;

  constructor(rules: readonly LevelRule[]) {
    this.#rules = rules;
    this.#levels = new Uint8Array(Math.max(...rules.map(({ of }) => of)));
    this.#counts = rules.map(() => 0);
  }

  /** For each rule, how many of the last `of` samples would have its level after one more observation. */
  after(observation: Observation): readonly number[] {
    if (observation === 'nothing') return this.#counts;
    if (observation === 'anew') return this.#rules.map(() => 0);
    return this.#rules.map(({ level, of }, i) => {
      const leaving = this.#seen >= of && this.#at(this.#seen - of) >= level;
      return (this.#counts[i] ?? 0) + Number(observation >= level) - Number(leaving);
    });
  }

  /** One more observation, in the order of the samples. */
  add(observation: Observation): void {
    this.#counts = this.after(observation);
    if (observation === 'anew') this.#seen = 0;
    if (typeof observation !== 'number') return;
    this.#levels[this.#seen % this.#levels.length] = observation;
    this.#seen += 1;
  }

  #at(index: number): number {
    return this.#levels[index % this.#levels.length] ?? 0;
  }
}
