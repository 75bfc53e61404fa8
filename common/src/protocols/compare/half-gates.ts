/**
 * Garbling: free XOR and two ciphertexts an AND gate.
 *
 * S. Zahur, M. Rosulek, D. Evans, *Two halves make a whole: reducing data transfer in garbled
 * circuits using half gates*, Eurocrypt 2015, figure 2; free XOR: V. Kolesnikov, T. Schneider, ICALP
 * 2008; hashing with one AES key: M. Bellare, V. T. Hoang, S. Keelveedhi, P. Rogaway, IEEE S&P 2013,
 * `H(K, j) = π(L) ⊕ L` with `L = 2K ⊕ j`, the key of `π` fresh for every garbling.
 *
 * A label is 16 bytes; the lowest bit of its last byte is its colour. The offset `Δ` between the two
 * labels of every wire has colour 1, so that they differ in colour.
 */
import { createCipheriv } from 'node:crypto';

import type { Circuit, Gate, Wire } from './circuit.js';

/** Bytes of a label, and of each of the two ciphertexts of an AND gate. */
export const LABEL_BYTES = 16;
const LABEL_WORDS = LABEL_BYTES / 4;

/** What the garbler sends: for AND gates in order, `T_G` then `T_E`. */
export interface GarbledCircuit {
  /** The AES-128 key of this garbling. */
  readonly hashKey: Uint8Array;
  /** `2·LABEL_BYTES` for each AND gate. */
  readonly tables: Uint8Array;
}

/** What the garbler keeps: an output's value is the colour of the evaluator's label, XOR this bit. */
export type OutputMasks = readonly boolean[];

/**
 * Garble a circuit.
 * @param zeroLabels the label that means 0, of each of the evaluator's input wires, one after the other
 * @param delta the offset, of colour 1
 * @param known the bits that the garbler knows
 * @param hashKey 16 fresh random bytes
 */
export function garble(
  circuit: Circuit,
  zeroLabels: Uint8Array,
  delta: Uint8Array,
  known: readonly boolean[],
  hashKey: Uint8Array,
): { garbled: GarbledCircuit; outputMasks: OutputMasks } {
  requireLength(zeroLabels, circuit.inputs * LABEL_BYTES, 'labels');
  if (known.length !== circuit.known) throw new RangeError('known bits do not fit the circuit');
  if (colour(delta) !== 1) throw new RangeError('the offset must have colour 1');
  const labels = new Labels(circuit, zeroLabels);
  const offset = wordsOf(delta);
  const hash = new LabelHash(hashKey);
  const tables = new Uint32Array(2 * LABEL_WORDS * circuit.ands);
  for (const { ands, free } of scheduleOf(circuit)) {
    for (const { gate, index } of ands) {
      hash.add(labels, gate.a, 2 * index);
      hash.add(labels, gate.a, 2 * index, offset);
      hash.add(labels, gate.b, 2 * index + 1);
      hash.add(labels, gate.b, 2 * index + 1, offset);
    }
    const hashed = hash.take();
    ands.forEach(({ gate, output, index }, i) => {
      garbleAnd(labels, gate, output, offset, hashed, 4 * i, tables, index);
    });
    for (const { gate, output } of free) {
      labels.set(output, gate.a);
      if (gate.kind === 'xor') labels.add(output, gate.b);
      if (gate.kind === 'not') labels.addWords(output, offset, 1);
      if (gate.kind === 'known') labels.addWords(output, offset, known[gate.bit] === true ? 1 : 0);
    }
  }
  return {
    garbled: { hashKey, tables: new Uint8Array(tables.buffer) },
    outputMasks: circuit.outputs.map((wire) => labels.colour(wire) === 1),
  };
}

/**
 * Evaluate a garbled circuit on the labels of one's own input.
 * @returns the colours of the outputs: without the garbler's masks they say nothing
 */
export function evaluate(
  circuit: Circuit,
  inputLabels: Uint8Array,
  { hashKey, tables }: GarbledCircuit,
): boolean[] {
  requireLength(inputLabels, circuit.inputs * LABEL_BYTES, 'labels');
  requireLength(tables, 2 * LABEL_BYTES * circuit.ands, 'tables');
  const labels = new Labels(circuit, inputLabels);
  const hash = new LabelHash(hashKey);
  const words = wordsOf(tables);
  for (const { ands, free } of scheduleOf(circuit)) {
    for (const { gate, index } of ands) {
      hash.add(labels, gate.a, 2 * index);
      hash.add(labels, gate.b, 2 * index + 1);
    }
    const hashed = hash.take();
    ands.forEach(({ gate, output, index }, i) => {
      evaluateAnd(labels, gate, output, hashed, 2 * i, words, index);
    });
    for (const { gate, output } of free) {
      labels.set(output, gate.a);
      if (gate.kind === 'xor') labels.add(output, gate.b);
    }
  }
  return circuit.outputs.map((wire) => labels.colour(wire) === 1);
}

/**
 * Figure 2, `GbAnd`: the output's label for 0; the two ciphertexts go into `tables`.
 * @param first of the four hashes: of a's two labels, then of b's
 */
function garbleAnd(
  labels: Labels,
  { a, b }: AndGate,
  output: Wire,
  delta: Uint32Array,
  hashed: Uint32Array,
  first: number,
  tables: Uint32Array,
  index: number,
): void {
  // All ones where the colour is 1: nothing branches on it.
  const colourA = -labels.colour(a);
  const colourB = -labels.colour(b);
  const [a0, a1, b0, b1] = [0, 1, 2, 3].map((i) => (first + i) * LABEL_WORDS) as [
    number,
    number,
    number,
    number,
  ];
  const row = 2 * LABEL_WORDS * index;
  for (let w = 0; w < LABEL_WORDS; w++) {
    const hashA0 = hashed[a0 + w] ?? 0;
    const hashB0 = hashed[b0 + w] ?? 0;
    const labelA = labels.word(a, w);
    const garblerHalf = hashA0 ^ (hashed[a1 + w] ?? 0) ^ ((delta[w] ?? 0) & colourB);
    const evaluatorHalf = hashB0 ^ (hashed[b1 + w] ?? 0) ^ labelA;
    tables[row + w] = garblerHalf;
    tables[row + LABEL_WORDS + w] = evaluatorHalf;
    const left = hashA0 ^ (garblerHalf & colourA);
    const right = hashB0 ^ ((evaluatorHalf ^ labelA) & colourB);
    labels.setWord(output, w, left ^ right);
  }
}

/**
 * Figure 2, `EvAnd`.
 * @param first of the two hashes: of a's label, then of b's
 */
function evaluateAnd(
  labels: Labels,
  { a, b }: AndGate,
  output: Wire,
  hashed: Uint32Array,
  first: number,
  tables: Uint32Array,
  index: number,
): void {
  const colourA = -labels.colour(a);
  const colourB = -labels.colour(b);
  const row = 2 * LABEL_WORDS * index;
  for (let w = 0; w < LABEL_WORDS; w++) {
    const garblerHalf = tables[row + w] ?? 0;
    const evaluatorHalf = tables[row + LABEL_WORDS + w] ?? 0;
    const left = (hashed[first * LABEL_WORDS + w] ?? 0) ^ (garblerHalf & colourA);
    const right =
      (hashed[(first + 1) * LABEL_WORDS + w] ?? 0) ^
      ((evaluatorHalf ^ labels.word(a, w)) & colourB);
    labels.setWord(output, w, left ^ right);
  }
}

type AndGate = Extract<Gate, { kind: 'and' }>;
type FreeGate = Exclude<Gate, { kind: 'and' }>;

/** Gates that can be worked off together: first the AND gates, then the free ones, in order. */
interface Layer {
  readonly ands: { readonly gate: AndGate; readonly output: Wire; readonly index: number }[];
  readonly free: { readonly gate: FreeGate; readonly output: Wire }[];
}

const schedules = new WeakMap<Circuit, readonly Layer[]>();

/**
 * A circuit's layers: independent AND gates are hashed in one go. Where the tables lie and what is
 * hashed with a label depends on a gate's place in the circuit only.
 */
function scheduleOf(circuit: Circuit): readonly Layer[] {
  const known = schedules.get(circuit);
  if (known !== undefined) return known;
  const layers: Layer[] = [];
  const depths = new Array<number>(1 + circuit.inputs).fill(0);
  let index = 0;
  for (const gate of circuit.gates) {
    const output = depths.length as Wire;
    const inputs = gate.kind === 'xor' || gate.kind === 'and' ? [gate.a, gate.b] : [gate.a];
    if (inputs.some((wire) => wire >= output))
      throw new RangeError('a wire is used before it is set');
    const depth =
      Math.max(...inputs.map((wire) => depths[wire] ?? 0)) + (gate.kind === 'and' ? 1 : 0);
    const layer = (layers[depth] ??= { ands: [], free: [] });
    if (gate.kind === 'and') layer.ands.push({ gate, output, index: index++ });
    else layer.free.push({ gate, output });
    depths.push(depth);
  }
  // No AND gate at depth 0, and perhaps no gate at all.
  const schedule = Array.from(
    layers,
    (layer: Layer | undefined) => layer ?? { ands: [], free: [] },
  );
  schedules.set(circuit, schedule);
  return schedule;
}

/** Every wire's label, as 32-bit words one after the other. The constant 0 has the label of all zeros. */
class Labels {
  readonly bytes: Uint8Array;
  readonly #words: Uint32Array;

  constructor({ inputs, gates }: Circuit, inputLabels: Uint8Array) {
    this.#words = new Uint32Array(LABEL_WORDS * (1 + inputs + gates.length));
    this.bytes = new Uint8Array(this.#words.buffer);
    this.bytes.set(inputLabels, LABEL_BYTES);
  }

  word(wire: Wire, index: number): number {
    return this.#words[LABEL_WORDS * wire + index] ?? 0;
  }

  setWord(wire: Wire, index: number, value: number): void {
    this.#words[LABEL_WORDS * wire + index] = value;
  }

  colour(wire: Wire): number {
    return (this.bytes[LABEL_BYTES * (wire + 1) - 1] ?? 0) & 1;
  }

  set(wire: Wire, from: Wire): void {
    for (let w = 0; w < LABEL_WORDS; w++) this.setWord(wire, w, this.word(from, w));
  }

  add(wire: Wire, added: Wire): void {
    for (let w = 0; w < LABEL_WORDS; w++) {
      this.setWord(wire, w, this.word(wire, w) ^ this.word(added, w));
    }
  }

  /** Add `bit` times some words, without a branch on the bit. */
  addWords(wire: Wire, words: Uint32Array, bit: number): void {
    for (let w = 0; w < LABEL_WORDS; w++) {
      this.setWord(wire, w, this.word(wire, w) ^ ((words[w] ?? 0) & -bit));
    }
  }
}

/** `H(K, j)`, of as many as were added. */
class LabelHash {
  readonly #cipher;
  #blocks = new Uint8Array(16 * LABEL_BYTES);
  #used = 0;

  constructor(key: Uint8Array) {
    this.#cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  }

  /** Hash a wire's label, or that label plus an offset. */
  add(labels: Labels, wire: Wire, tweak: number, offset?: Uint32Array): void {
    const start = this.#used;
    this.#used += LABEL_BYTES;
    if (this.#used > this.#blocks.length) {
      const more = new Uint8Array(2 * this.#blocks.length);
      more.set(this.#blocks);
      this.#blocks = more;
    }
    const blocks = this.#blocks;
    const block = new Uint32Array(blocks.buffer, start, LABEL_WORDS);
    for (let w = 0; w < LABEL_WORDS; w++) {
      block[w] = labels.word(wire, w) ^ (offset === undefined ? 0 : (offset[w] ?? 0));
    }
    double(blocks, start);
    for (let i = 0; i < 4; i++) {
      const at = start + LABEL_BYTES - 1 - i;
      blocks[at] = (blocks[at] ?? 0) ^ ((tweak >>> (8 * i)) & 0xff);
    }
  }

  /** The hashes, four words each. */
  take(): Uint32Array {
    const blocks = this.#blocks.subarray(0, this.#used);
    this.#used = 0;
    const hashes = wordsOf(this.#cipher.update(blocks));
    const inputs = new Uint32Array(blocks.buffer, 0, hashes.length);
    for (let i = 0; i < hashes.length; i++) hashes[i] = (hashes[i] ?? 0) ^ (inputs[i] ?? 0);
    return hashes;
  }
}

/** Doubling in GF(2^128), big-endian, modulo `x^128 + x^7 + x^2 + x + 1`. */
function double(blocks: Uint8Array, start: number): void {
  const last = start + LABEL_BYTES - 1;
  const carry = (blocks[start] ?? 0) >> 7;
  for (let i = start; i < last; i++) {
    blocks[i] = ((blocks[i] ?? 0) << 1) | ((blocks[i + 1] ?? 0) >> 7);
  }
  blocks[last] = ((blocks[last] ?? 0) << 1) ^ (carry * 0x87);
}

/** The colour of a label: 0 or 1. */
export function colour(label: Uint8Array): number {
  return (label[LABEL_BYTES - 1] ?? 0) & 1;
}

/** A copy as words, in the machine's own order: they are only ever added. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(Uint8Array.from(bytes).buffer);
}

function requireLength(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length !== length) throw new RangeError(`${what} must have ${length} bytes`);
}
