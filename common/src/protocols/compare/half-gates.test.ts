/**
 * Garbling: what it computes, label by label against an implementation of its own, and what it hides.
 * `DUOVEIL_WRITE_VECTORS=1` writes `common/test/vectors/compare/half-gates.json` anew first.
 */
import { createCipheriv } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { SeededRandom } from '../../../../harness/src/local/randomness.js';
import { bytesFromInteger, integerFromBytes, type RandomSource } from '../../random.js';
import { CircuitBuilder, evaluatePlain, type Circuit, type Wire } from './circuit.js';
import { levelCircuit } from './comparator.js';
import { colour, evaluate, garble, LABEL_BYTES, type GarbledCircuit } from './half-gates.js';
import { drawDelta } from './ot-extension.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const VECTORS = new URL('../../../test/vectors/compare/half-gates.json', import.meta.url);

/** The labels of an input. */
const labelsOf = (zeroLabels: Uint8Array, delta: Uint8Array, input: readonly boolean[]) =>
  Uint8Array.from(zeroLabels, (byte, at) =>
    input[Math.floor(at / LABEL_BYTES)] === true ? byte ^ (delta[at % LABEL_BYTES] ?? 0) : byte,
  );

function garbleFresh(circuit: Circuit, known: readonly boolean[], random: RandomSource) {
  const { delta } = drawDelta(random);
  const zeroLabels = random.bytes(circuit.inputs * LABEL_BYTES);
  const hashKey = random.bytes(LABEL_BYTES);
  return { delta, zeroLabels, ...garble(circuit, zeroLabels, delta, known, hashKey) };
}

const boolean = fc.boolean();

/** A circuit of any gates, all wires among its outputs, with bits for it. */
const anyCircuit = fc
  .record({
    inputs: fc.integer({ min: 0, max: 6 }),
    known: fc.integer({ min: 0, max: 4 }),
    gates: fc.array(
      fc.record({
        kind: fc.constantFrom('xor', 'and', 'and', 'not', 'known', 'majority'),
        a: fc.nat(),
        b: fc.nat(),
        c: fc.nat(),
      }),
      { maxLength: 40 },
    ),
  })
  .chain(({ inputs, known, gates }) => {
    const builder = new CircuitBuilder(inputs, known);
    const wires: Wire[] = [
      builder.zero,
      ...Array.from({ length: inputs }, (_, i) => builder.input(i)),
    ];
    const wire = (n: number) => wires[n % wires.length] ?? builder.zero;
    for (const { kind, a, b, c } of gates) {
      if (kind === 'xor') wires.push(builder.xor(wire(a), wire(b)));
      else if (kind === 'and') wires.push(builder.and(wire(a), wire(b)));
      else if (kind === 'not') wires.push(builder.not(wire(a)));
      else if (kind === 'majority') wires.push(builder.majority(wire(a), wire(b), wire(c)));
      else if (known > 0) wires.push(builder.xorKnown(wire(a), b % known));
    }
    return fc.record({
      circuit: fc.constant(builder.build(wires)),
      input: fc.array(boolean, { minLength: inputs, maxLength: inputs }),
      bits: fc.array(boolean, { minLength: known, maxLength: known }),
      seed: fc.string(),
    });
  });

/** The same scheme once more, on integers, with all labels: figure 2 of the paper to the letter. */
function secondImplementation(
  { inputs, gates }: Circuit,
  zeroLabels: Uint8Array,
  delta: bigint,
  known: readonly boolean[],
  input: readonly boolean[],
  hashKey: Uint8Array,
) {
  const H = (label: bigint, tweak: number): bigint => {
    const doubled = (label << 1n) ^ (label >> 127n === 1n ? (1n << 128n) | 0x87n : 0n);
    const L = doubled ^ BigInt(tweak);
    const cipher = createCipheriv('aes-128-ecb', hashKey, null).setAutoPadding(false);
    return integerFromBytes(cipher.update(bytesFromInteger(L, 16))) ^ L;
  };
  const zero = [0n];
  const active = [0n];
  for (let i = 0; i < inputs; i++) {
    const label = integerFromBytes(zeroLabels.subarray(16 * i, 16 * i + 16));
    zero.push(label);
    active.push(input[i] === true ? label ^ delta : label);
  }
  const tables: bigint[] = [];
  for (const gate of gates) {
    const a = zero[gate.a] ?? 0n;
    const activeA = active[gate.a] ?? 0n;
    if (gate.kind === 'not' || gate.kind === 'known') {
      const flipped = gate.kind === 'not' || known[gate.bit] === true;
      zero.push(flipped ? a ^ delta : a);
      active.push(activeA);
      continue;
    }
    const b = zero[gate.b] ?? 0n;
    const activeB = active[gate.b] ?? 0n;
    if (gate.kind === 'xor') {
      zero.push(a ^ b);
      active.push(activeA ^ activeB);
      continue;
    }
    const [j, k] = [tables.length, tables.length + 1];
    const [pa, pb] = [(a & 1n) === 1n, (b & 1n) === 1n];
    const TG = H(a, j) ^ H(a ^ delta, j) ^ (pb ? delta : 0n);
    const WG = H(a, j) ^ (pa ? TG : 0n);
    const TE = H(b, k) ^ H(b ^ delta, k) ^ a;
    const WE = H(b, k) ^ (pb ? TE ^ a : 0n);
    tables.push(TG, TE);
    zero.push(WG ^ WE);
    const [sa, sb] = [(activeA & 1n) === 1n, (activeB & 1n) === 1n];
    active.push(H(activeA, j) ^ (sa ? TG : 0n) ^ H(activeB, k) ^ (sb ? TE ^ activeA : 0n));
  }
  return { tables: Buffer.concat(tables.map((T) => bytesFromInteger(T, 16))), zero, active };
}

describe('a garbled circuit', () => {
  it('computes what the circuit does, on every wire', () => {
    fc.assert(
      fc.property(anyCircuit, ({ circuit, input, bits, seed }) => {
        const random = new SeededRandom(`circuit/${seed}`);
        const { delta, zeroLabels, garbled, outputMasks } = garbleFresh(circuit, bits, random);
        const colours = evaluate(circuit, labelsOf(zeroLabels, delta, input), garbled);
        const values = colours.map((c, i) => c !== outputMasks[i]);
        expect(values).toEqual(evaluatePlain(circuit, input, bits));
      }),
      { numRuns: LONG ? 5000 : 300, seed: 1 },
    );
  });

  it('has the tables, labels and colours of the paper: one of two labels on each wire', () => {
    fc.assert(
      fc.property(anyCircuit, ({ circuit, input, bits, seed }) => {
        const random = new SeededRandom(`paper/${seed}`);
        const { delta, zeroLabels, garbled, outputMasks } = garbleFresh(circuit, bits, random);
        const offset = integerFromBytes(delta);
        const { hashKey, tables } = garbled;
        const other = secondImplementation(circuit, zeroLabels, offset, bits, input, hashKey);
        expect(Buffer.from(tables).equals(other.tables)).toBe(true);
        const values = evaluatePlain(circuit, input, bits);
        const colours = evaluate(circuit, labelsOf(zeroLabels, delta, input), garbled);
        circuit.outputs.forEach((wire, i) => {
          const zero = other.zero[wire] ?? 0n;
          const active = other.active[wire];
          expect(active).toBe(values[i] === true ? zero ^ offset : zero);
          expect(outputMasks[i]).toBe((zero & 1n) === 1n);
          expect(colours[i]).toBe(((active ?? 0n) & 1n) === 1n);
        });
      }),
      { numRuns: LONG ? 2000 : 150, seed: 2 },
    );
  });

  it('with a bit of its tables flipped gives other colours or the same, and nothing else', () => {
    const circuit = levelCircuit(2, 1);
    const random = new SeededRandom('flips');
    let changed = 0;
    const known = [true, false, true];
    const { delta, zeroLabels, garbled } = garbleFresh(circuit, known, random);
    for (const input of [
      [false, true, true],
      [true, true, false],
    ]) {
      const labels = labelsOf(zeroLabels, delta, input);
      const right = evaluate(circuit, labels, garbled);
      for (let bit = 0; bit < 8 * garbled.tables.length; bit++) {
        const tables = Uint8Array.from(garbled.tables);
        tables[bit >> 3] = (tables[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const found = evaluate(circuit, labels, { hashKey: garbled.hashKey, tables });
        expect(found).toHaveLength(right.length);
        if (found[0] !== right[0]) changed += 1;
      }
    }
    expect(changed).toBeGreaterThan(0);
    // Where a half is not used at all, or the change never reaches a colour, nothing changes.
    expect(changed).toBeLessThan(2 * 8 * garbled.tables.length);
  });

  it('takes labels, tables, bits, key and offset of its own form alone', () => {
    const circuit = levelCircuit(2, 1);
    const random = new SeededRandom('forms');
    const known = [true, false, true];
    const { delta, zeroLabels, garbled } = garbleFresh(circuit, known, random);
    const key = garbled.hashKey;
    const longer = (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(1)]);
    for (const wrong of [zeroLabels.subarray(1), longer(zeroLabels), new Uint8Array(0)]) {
      expect(() => garble(circuit, wrong, delta, known, key)).toThrow(RangeError);
      expect(() => evaluate(circuit, wrong, garbled)).toThrow(RangeError);
    }
    for (const tables of [garbled.tables.subarray(1), longer(garbled.tables)]) {
      expect(() => evaluate(circuit, zeroLabels, { hashKey: key, tables })).toThrow(RangeError);
    }
    for (const wrong of [key.subarray(1), longer(key)]) {
      expect(() => garble(circuit, zeroLabels, delta, known, wrong)).toThrow();
      expect(() => evaluate(circuit, zeroLabels, { ...garbled, hashKey: wrong })).toThrow();
    }
    expect(() => garble(circuit, zeroLabels, delta, known.slice(1), key)).toThrow(RangeError);
    const colourless = Uint8Array.from(delta);
    colourless[LABEL_BYTES - 1] = (colourless[LABEL_BYTES - 1] ?? 0) & 0xfe;
    expect(() => garble(circuit, zeroLabels, colourless, known, key)).toThrow('colour 1');
  });

  it('has other tables for another key of the hash, and no table like another', () => {
    const circuit = levelCircuit(8, 2);
    const random = new SeededRandom('keys');
    const known = Array.from({ length: circuit.known }, () => false);
    const { delta, zeroLabels, garbled } = garbleFresh(circuit, known, random);
    const again = garble(circuit, zeroLabels, delta, known, random.bytes(LABEL_BYTES));
    const blocks = [garbled, again.garbled].flatMap(({ tables }) =>
      Array.from({ length: tables.length / LABEL_BYTES }, (_, i) =>
        Buffer.from(tables.subarray(i * LABEL_BYTES, (i + 1) * LABEL_BYTES)).toString('hex'),
      ),
    );
    expect(new Set(blocks).size).toBe(4 * circuit.ands);
  });
});

describe('the colours that an evaluator returns', () => {
  const TRIALS = 2000;

  /** An output that is an AND gate's, and one that no gate stands before. */
  const circuit = (() => {
    const builder = new CircuitBuilder(2, 0);
    const [a, b] = [builder.input(0), builder.input(1)];
    return builder.build([builder.and(a, b), builder.xor(a, b)]);
  })();

  /** How often each output had colour 1. */
  function ones(input: readonly boolean[], zeroLabels: (random: RandomSource) => Uint8Array) {
    const random = new SeededRandom(`colours/${input.join()}`);
    const counts = circuit.outputs.map(() => 0);
    for (let i = 0; i < TRIALS; i++) {
      const { delta } = drawDelta(random);
      const labels = zeroLabels(random);
      const { garbled } = garble(circuit, labels, delta, [], random.bytes(LABEL_BYTES));
      evaluate(circuit, labelsOf(labels, delta, input), garbled).forEach((c, j) => {
        if (c) counts[j] = (counts[j] ?? 0) + 1;
      });
    }
    return counts;
  }

  const isUniform = (count: number) => Math.abs(count - TRIALS / 2) < 5 * Math.sqrt(TRIALS / 4);
  const inputs = [
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ];

  it('are uniform, whatever the outputs are', () => {
    for (const input of inputs) {
      const counts = ones(input, (random) => random.bytes(2 * LABEL_BYTES));
      expect(counts.map(isUniform)).toEqual([true, true]);
    }
  });

  it('would be the outputs themselves if the labels were not drawn: the test sees that', () => {
    for (const input of inputs) {
      const counts = ones(input, () => new Uint8Array(2 * LABEL_BYTES));
      expect(isUniform(counts[1] ?? 0)).toBe(false);
      expect(counts[1]).toBe(input[0] === input[1] ? 0 : TRIALS);
    }
  });
});

interface Vector {
  readonly name: string;
  readonly circuit: Circuit;
  readonly zeroLabels: string;
  readonly delta: string;
  readonly known: readonly boolean[];
  readonly hashKey: string;
  readonly tables: string;
  readonly outputMasks: readonly boolean[];
  readonly evaluations: readonly {
    readonly input: readonly boolean[];
    readonly colours: readonly boolean[];
  }[];
}

const COMMENT =
  'Half gates over fixed labels. Labels are 16 bytes in hexadecimal, one after the other; tables are ' +
  'T_G then T_E of each AND gate in order; H(K, j) = AES(L) xor L with L = 2K xor j under hashKey, ' +
  'j = 2i and 2i+1 for the AND gate i. Wire 0 is the constant 0, then inputs, then gates.';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const unhex = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'));

function makeVector(name: string, circuit: Circuit, known: readonly boolean[]): Vector {
  const random = new SeededRandom(`half-gates/${name}`);
  const { delta, zeroLabels, garbled, outputMasks } = garbleFresh(circuit, known, random);
  const inputs = Array.from({ length: 2 ** circuit.inputs }, (_, value) =>
    Array.from({ length: circuit.inputs }, (__, i) => ((value >> i) & 1) === 1),
  );
  return {
    name,
    circuit,
    zeroLabels: hex(zeroLabels),
    delta: hex(delta),
    known,
    hashKey: hex(garbled.hashKey),
    tables: hex(garbled.tables),
    outputMasks,
    evaluations: inputs.map((input) => ({
      input,
      colours: evaluate(circuit, labelsOf(zeroLabels, delta, input), garbled),
    })),
  };
}

function makeVectors(): { comment: string; vectors: Vector[] } {
  const gate = new CircuitBuilder(2, 0);
  const majority = new CircuitBuilder(3, 1);
  const [a, b, c] = [majority.input(0), majority.input(1), majority.input(2)];
  return {
    comment: COMMENT,
    vectors: [
      makeVector('and', gate.build([gate.and(gate.input(0), gate.input(1))]), []),
      makeVector(
        'majority, a known bit and a negation',
        majority.build([majority.majority(majority.not(a), majority.xorKnown(b, 0), c)]),
        [true],
      ),
      makeVector('comparison of width 3', levelCircuit(3, 1), [true, false, true, true]),
    ],
  };
}

if (process.env['DUOVEIL_WRITE_VECTORS'] === '1') {
  mkdirSync(new URL('.', VECTORS), { recursive: true });
  writeFileSync(VECTORS, `${JSON.stringify(makeVectors(), null, 1)}\n`);
}

describe('the vectors of half gates', () => {
  const file = JSON.parse(readFileSync(VECTORS, 'utf8')) as { comment: string; vectors: Vector[] };

  it('say what they show, and are what the generator makes', () => {
    expect(file).toEqual(JSON.parse(JSON.stringify(makeVectors())));
    expect(file.comment).toBe(COMMENT);
    expect(file.vectors).toHaveLength(3);
  });

  it.each(file.vectors)('replay: $name', (vector) => {
    const { circuit, known, evaluations } = vector;
    const [zeroLabels, delta, hashKey] = [vector.zeroLabels, vector.delta, vector.hashKey].map(
      unhex,
    ) as [Uint8Array, Uint8Array, Uint8Array];
    expect(colour(delta)).toBe(1);
    const { garbled, outputMasks } = garble(circuit, zeroLabels, delta, known, hashKey);
    expect(hex(garbled.tables)).toBe(vector.tables);
    expect(outputMasks).toEqual(vector.outputMasks);
    const fromFile: GarbledCircuit = { hashKey, tables: unhex(vector.tables) };
    for (const { input, colours } of evaluations) {
      expect(evaluate(circuit, labelsOf(zeroLabels, delta, input), fromFile)).toEqual(colours);
      const values = colours.map((c, i) => c !== vector.outputMasks[i]);
      expect(values).toEqual(evaluatePlain(circuit, input, known));
      const offset = integerFromBytes(delta);
      const other = secondImplementation(circuit, zeroLabels, offset, known, input, hashKey);
      expect(hex(other.tables)).toBe(vector.tables);
    }
  });
});
