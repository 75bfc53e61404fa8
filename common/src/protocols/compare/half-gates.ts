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
  const hash = new LabelHash(hashKey);
  const tables = new Uint8Array(2 * LABEL_BYTES * circuit.ands);
  let ands = 0;
  const labels = walk(circuit, zeroLabels, (gate, at) => {
    switch (gate.kind) {
      case 'xor':
        return xor(at(gate.a), at(gate.b));
      case 'not':
        return xor(at(gate.a), delta);
      case 'known':
        return known[gate.bit] === true ? xor(at(gate.a), delta) : at(gate.a);
      case 'and': {
        const table = tables.subarray(2 * LABEL_BYTES * ands, 2 * LABEL_BYTES * (ands + 1));
        return garbleAnd(at(gate.a), at(gate.b), delta, hash, ands++, table);
      }
    }
  });
  return {
    garbled: { hashKey, tables },
    outputMasks: circuit.outputs.map((wire) => colour(labels(wire)) === 1),
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
  const hash = new LabelHash(hashKey);
  let ands = 0;
  const labels = walk(circuit, inputLabels, (gate, at) => {
    switch (gate.kind) {
      case 'xor':
        return xor(at(gate.a), at(gate.b));
      case 'not':
      case 'known':
        return at(gate.a);
      case 'and': {
        const table = tables.subarray(2 * LABEL_BYTES * ands, 2 * LABEL_BYTES * (ands + 1));
        return evaluateAnd(at(gate.a), at(gate.b), hash, ands++, table);
      }
    }
  });
  return circuit.outputs.map((wire) => colour(labels(wire)) === 1);
}

/** Figure 2, `GbAnd`: the output's label for 0; the two ciphertexts go into `table`. */
function garbleAnd(
  a: Uint8Array,
  b: Uint8Array,
  delta: Uint8Array,
  hash: LabelHash,
  index: number,
  table: Uint8Array,
): Uint8Array {
  const [hashA0, hashA1, hashB0, hashB1] = hash.of([
    [a, 2 * index],
    [xor(a, delta), 2 * index],
    [b, 2 * index + 1],
    [xor(b, delta), 2 * index + 1],
  ]) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  const garblerHalf = xor(xor(hashA0, hashA1), masked(delta, colour(b)));
  const evaluatorHalf = xor(xor(hashB0, hashB1), a);
  table.set(garblerHalf, 0);
  table.set(evaluatorHalf, LABEL_BYTES);
  const left = xor(hashA0, masked(garblerHalf, colour(a)));
  const right = xor(hashB0, masked(xor(evaluatorHalf, a), colour(b)));
  return xor(left, right);
}

/** Figure 2, `EvAnd`. */
function evaluateAnd(
  a: Uint8Array,
  b: Uint8Array,
  hash: LabelHash,
  index: number,
  table: Uint8Array,
): Uint8Array {
  const garblerHalf = table.subarray(0, LABEL_BYTES);
  const evaluatorHalf = table.subarray(LABEL_BYTES);
  const [hashA, hashB] = hash.of([
    [a, 2 * index],
    [b, 2 * index + 1],
  ]) as [Uint8Array, Uint8Array];
  const left = xor(hashA, masked(garblerHalf, colour(a)));
  const right = xor(hashB, masked(xor(evaluatorHalf, a), colour(b)));
  return xor(left, right);
}

/** Every wire's label, in the order of evaluation. The constant 0 has the label of all zeros. */
function walk(
  { inputs, gates }: Circuit,
  inputLabels: Uint8Array,
  output: (gate: Gate, at: (wire: Wire) => Uint8Array) => Uint8Array,
): (wire: Wire) => Uint8Array {
  const labels: Uint8Array[] = [new Uint8Array(LABEL_BYTES)];
  for (let i = 0; i < inputs; i++) {
    labels.push(inputLabels.subarray(i * LABEL_BYTES, (i + 1) * LABEL_BYTES));
  }
  const at = (wire: Wire): Uint8Array => {
    const label = labels[wire];
    if (label === undefined) throw new RangeError(`wire ${wire} is used before it is set`);
    return label;
  };
  for (const gate of gates) labels.push(output(gate, at));
  return at;
}

/** `H(K, j)`, several at once. */
class LabelHash {
  readonly #cipher;

  constructor(key: Uint8Array) {
    this.#cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  }

  of(inputs: readonly (readonly [label: Uint8Array, tweak: number])[]): Uint8Array[] {
    const blocks = Buffer.alloc(inputs.length * LABEL_BYTES);
    inputs.forEach(([label, tweak], i) => {
      double(label, blocks, i * LABEL_BYTES);
      const low = (i + 1) * LABEL_BYTES - 4;
      blocks.writeUInt32BE((blocks.readUInt32BE(low) ^ tweak) >>> 0, low);
    });
    const encrypted = this.#cipher.update(blocks);
    return inputs.map((_, i) => {
      const [start, end] = [i * LABEL_BYTES, (i + 1) * LABEL_BYTES];
      return xor(encrypted.subarray(start, end), blocks.subarray(start, end));
    });
  }
}

/** Doubling in GF(2^128), big-endian, modulo `x^128 + x^7 + x^2 + x + 1`. */
function double(label: Uint8Array, target: Uint8Array, offset: number): void {
  const carry = (label[0] ?? 0) >> 7;
  for (let i = 0; i < LABEL_BYTES; i++) {
    target[offset + i] = (((label[i] ?? 0) << 1) | ((label[i + 1] ?? 0) >> 7)) & 0xff;
  }
  const last = offset + LABEL_BYTES - 1;
  target[last] = (target[last] ?? 0) ^ (carry * 0x87);
}

/** The colour of a label: 0 or 1. */
export function colour(label: Uint8Array): number {
  return (label[LABEL_BYTES - 1] ?? 0) & 1;
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  const result = new Uint8Array(LABEL_BYTES);
  for (let i = 0; i < LABEL_BYTES; i++) result[i] = (a[i] ?? 0) ^ (b[i] ?? 0);
  return result;
}

/** The label where the bit is 1, else zeros, without a branch on the bit. */
function masked(label: Uint8Array, bit: number): Uint8Array {
  const result = new Uint8Array(LABEL_BYTES);
  for (let i = 0; i < LABEL_BYTES; i++) result[i] = (label[i] ?? 0) & -bit;
  return result;
}

function requireLength(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length !== length) throw new RangeError(`${what} must have ${length} bytes`);
}
