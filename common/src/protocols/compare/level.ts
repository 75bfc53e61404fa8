/**
 * The level of a sample: how many of its thresholds `MD²` exceeds, and nothing else. Both servers hold
 * shares of `num` and `det` modulo `P`; a public linear function of them are shares of `v_T` for every
 * threshold, whose signs a garbled circuit counts.
 *
 * | step | who | does | learns |
 * |---|---|---|---|
 * | 1 | CSP | asks for the labels of its input by correlated oblivious transfer | nothing |
 * | 2 | SP | garbles the circuit with its own input folded in, sends the tables | nothing |
 * | 3 | CSP | evaluates, answers with the colours of the outputs | nothing: they are masked |
 * | 4 | SP | takes the masks off | the level |
 *
 * The CSP answers with colours alone: whatever a dishonest service provider garbles, it learns
 * `⌈log₂(k + 1)⌉` bits.
 */
import { levelFactors, type LevelPlan, type PackingPlan } from '../../encoding/packing-plan.js';
import { duoveilError } from '../../errors.js';
import type { RandomSource } from '../../random.js';
import type { Circuit } from './circuit.js';
import { evaluatorBits, garblerBits, levelBits, levelCircuit, levelOf } from './comparator.js';
import {
  evaluate,
  garble,
  LABEL_BYTES,
  type GarbledCircuit,
  type OutputMasks,
} from './half-gates.js';
import { answerLabels, requestLabels } from './ot-extension.js';
import type { ExtensionReceiver, ExtensionSender } from './ot-extension.js';

/** One server's shares, modulo `P`. */
export interface LeverageShares {
  readonly numerator: bigint;
  readonly determinant: bigint;
}

/** What the CSP remembers between step 1 and step 3; used once. */
export interface PendingComparison {
  readonly circuit: Circuit;
  readonly labels: Uint8Array;
}

/** Step 1, CSP: ask for labels. */
export function requestComparison(
  receiver: ExtensionReceiver,
  plan: PackingPlan,
  shares: LeverageShares,
  instance: number,
): { pending: PendingComparison; message: Uint8Array } {
  const { width, order } = comparisonOf(plan);
  const bits = thresholdShares(plan, shares).flatMap((share) => evaluatorBits(share, width, order));
  const { labels, message } = requestLabels(receiver, bits, instance);
  return { pending: { circuit: circuitOf(plan), labels }, message };
}

/**
 * Step 2, SP: garble, with a fresh key of the hash for every comparison.
 * @throws DuoveilError `MESSAGE_INVALID`
 */
export function garbleComparison(
  sender: ExtensionSender,
  plan: PackingPlan,
  shares: LeverageShares,
  message: Uint8Array,
  instance: number,
  random: RandomSource,
): { garbled: GarbledCircuit; outputMasks: OutputMasks } {
  const { width, order } = comparisonOf(plan);
  const circuit = circuitOf(plan);
  const known = thresholdShares(plan, shares).flatMap((share) => garblerBits(share, width, order));
  const labels = answerLabels(sender, message, circuit.inputs, instance);
  return garble(circuit, labels, sender.delta, known, random.bytes(LABEL_BYTES));
}

/**
 * Step 3, CSP: evaluate.
 * @throws DuoveilError `MESSAGE_INVALID`
 */
export function evaluateComparison(
  { circuit, labels }: PendingComparison,
  garbled: GarbledCircuit,
): boolean[] {
  if (garbled.hashKey.length !== LABEL_BYTES) {
    throw invalid('hash_key', `must have ${LABEL_BYTES} bytes`);
  }
  const length = 2 * LABEL_BYTES * circuit.ands;
  if (garbled.tables.length !== length) throw invalid('tables', `must have ${length} bytes`);
  return evaluate(circuit, labels, garbled);
}

/** Step 4, SP: the level, from 0 to the number of thresholds. */
export function acceptLevel(colours: readonly boolean[], outputMasks: OutputMasks): number {
  return levelOf(outputMasks.map((mask, i) => mask !== colours[i]));
}

/** How many outputs a comparison has. */
export function outputCount(plan: PackingPlan): number {
  return levelBits(levelPlan(plan).thresholds.length);
}

/** Bits of the CSP's input. */
export function inputCount(plan: PackingPlan): number {
  return circuitOf(plan).inputs;
}

/** `v_T` of each threshold, as this server's share of it. */
function thresholdShares(plan: PackingPlan, shares: LeverageShares): bigint[] {
  return levelPlan(plan).thresholds.map((threshold) => {
    const { numerator, determinant } = levelFactors(plan.window, threshold);
    return numerator * shares.numerator - determinant * shares.determinant;
  });
}

function comparisonOf(plan: PackingPlan): { width: number; order: bigint } {
  return { width: levelPlan(plan).width, order: plan.field.order };
}

const circuits = new Map<string, Circuit>();

/** Circuits depend on two small numbers: each is built once. */
function circuitOf(plan: PackingPlan): Circuit {
  const { width, thresholds } = levelPlan(plan);
  const key = `${width}/${thresholds.length}`;
  let circuit = circuits.get(key);
  if (circuit === undefined) {
    circuit = levelCircuit(width, thresholds.length);
    circuits.set(key, circuit);
  }
  return circuit;
}

function levelPlan({ level }: PackingPlan): LevelPlan {
  if (level === undefined) throw new RangeError('this plan is for distance output');
  return level;
}

function invalid(field: string, requirement: string): Error {
  return duoveilError('MESSAGE_INVALID', `${field} ${requirement}`, { field });
}
