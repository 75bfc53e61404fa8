/** The comparator against its definition, in the clear and garbled. */
import { describe, expect, it } from 'vitest';

import { SeededRandom } from '../../../../harness/src/local/randomness.js';
import { packingPlan, STATISTICAL_BITS } from '../../encoding/packing-plan.js';
import { DEFAULT_CHANNELS } from '../../encoding/schema.js';
import { uniformBelow, type RandomSource } from '../../random.js';
import { CircuitBuilder, evaluatePlain, type Circuit } from './circuit.js';
import { evaluatorBits, garblerBits, levelBits, levelCircuit, levelOf } from './comparator.js';
import { evaluate, garble, LABEL_BYTES } from './half-gates.js';
import { drawDelta } from './ot-extension.js';

const random = new SeededRandom('comparator');

const bitsOf = (value: number, count: number) =>
  Array.from({ length: count }, (_, i) => ((value >> i) & 1) === 1);

const range = (length: number) => Array.from({ length }, (_, i) => i);

/** Garble, give the evaluator the labels of its input, evaluate, take the masks off. */
function evaluateGarbled(
  circuit: Circuit,
  input: readonly boolean[],
  known: readonly boolean[],
  source: RandomSource,
): boolean[] {
  const { delta } = drawDelta(source);
  const zeroLabels = source.bytes(circuit.inputs * LABEL_BYTES);
  const { garbled, outputMasks } = garble(
    circuit,
    zeroLabels,
    delta,
    known,
    source.bytes(LABEL_BYTES),
  );
  const labels = Uint8Array.from(zeroLabels, (byte, at) =>
    input[Math.floor(at / LABEL_BYTES)] === true ? byte ^ (delta[at % LABEL_BYTES] ?? 0) : byte,
  );
  return evaluate(circuit, labels, garbled).map((colour, i) => colour !== outputMasks[i]);
}

/** Both ways; they must agree. */
function levelBothWays(
  circuit: Circuit,
  input: readonly boolean[],
  known: readonly boolean[],
): number {
  const plain = levelOf(evaluatePlain(circuit, input, known));
  const garbled = levelOf(evaluateGarbled(circuit, input, known, random));
  if (plain !== garbled) throw new Error(`plain ${plain}, garbled ${garbled}`);
  return plain;
}

/** Bit ℓ of `(u - c) mod 2^(ℓ+1)`. */
const definition = (u: number, c: number, width: number) => {
  const modulus = 2 ** (width + 1);
  return (((u - c) % modulus) + modulus) % modulus >= 2 ** width;
};

describe('the level circuit', () => {
  it.each([1, 2, 3, 4])('is its definition for every u and c, ℓ = %i', (width) => {
    const circuit = levelCircuit(width, 1);
    const all = range(2 ** (width + 1));
    const found = all.map((u) =>
      all.map((c) => levelBothWays(circuit, bitsOf(c, width + 1), bitsOf(u, width + 1))),
    );
    expect(found).toEqual(all.map((u) => all.map((c) => Number(definition(u, c, width)))));
  });

  it.each([
    { width: 1, thresholds: 2, garbledToo: true },
    { width: 1, thresholds: 3, garbledToo: true },
    { width: 2, thresholds: 2, garbledToo: true },
    { width: 3, thresholds: 2, garbledToo: false },
    { width: 4, thresholds: 2, garbledToo: false },
  ])(
    'counts ordered comparisons for all inputs, ℓ = $width, k = $thresholds',
    ({ width, thresholds, garbledToo }) => {
      const bits = width + 1;
      const circuit = levelCircuit(width, thresholds);
      const pairs = range(2 ** bits).flatMap((u) => range(2 ** bits).map((c) => ({ u, c })));
      // All pairs for the first comparison and the last; in wide ones a stride keeps the number down.
      const stride = garbledToo ? 1 : 37;
      let checked = 0;
      let wrong = 0;
      for (let index = 0; index < pairs.length ** thresholds; index += stride) {
        const chosen = range(thresholds).map(
          (i) => pairs[Math.floor(index / pairs.length ** i) % pairs.length] ?? { u: 0, c: 0 },
        );
        const results = chosen.map(({ u, c }) => definition(u, c, width));
        if (results.some((result, i) => result && results[i - 1] === false)) continue;
        const input = chosen.flatMap(({ c }) => bitsOf(c, bits));
        const known = chosen.flatMap(({ u }) => bitsOf(u, bits));
        const level =
          garbledToo && index % 5 === 0
            ? levelBothWays(circuit, input, known)
            : levelOf(evaluatePlain(circuit, input, known));
        checked += 1;
        if (level !== results.filter(Boolean).length) wrong += 1;
      }
      expect(checked).toBeGreaterThan(150);
      expect(wrong).toBe(0);
    },
  );

  it('takes every level from 0 to k, with ℓ·k AND gates, for k = 1 to 15', () => {
    const width = 5;
    const order = 2n ** 61n - 1n;
    for (let k = 1; k <= 15; k++) {
      const circuit = levelCircuit(width, k);
      expect(circuit.ands).toBe(width * k);
      expect(circuit.gates.filter(({ kind }) => kind === 'and')).toHaveLength(width * k);
      expect(circuit.outputs).toHaveLength(levelBits(k));
      expect(2 ** levelBits(k)).toBeGreaterThan(k);
      expect(2 ** (levelBits(k) - 1)).toBeLessThanOrEqual(k);
      const levels = range(k + 1).map((positive) => {
        // Shares from the lower half: none of them wraps around.
        const shares = range(k).map((i) => {
          const v = i < positive ? 1n + BigInt(k - i) : -BigInt(i);
          const other = -uniformBelow(order / 2n, random);
          return [v - other, other] as const;
        });
        const known = shares.flatMap(([own]) => garblerBits(own, width, order));
        const input = shares.flatMap(([, other]) => evaluatorBits(other, width, order));
        return levelBothWays(circuit, input, known);
      });
      expect(levels).toEqual(range(k + 1));
    }
  });

  it('is right at the ends of the range in the default plan, whatever the shares', () => {
    const thresholds = [483_502n, 870_000n, 1_310_720n];
    const plan = packingPlan({ channels: DEFAULT_CHANNELS }, 60, 2048, thresholds);
    const { order, bits } = plan.field;
    const width = plan.level?.width ?? 0;
    expect(bits).toBeGreaterThanOrEqual(width + 1 + STATISTICAL_BITS);
    const circuit = levelCircuit(width, thresholds.length);
    expect(circuit.ands).toBe(width * thresholds.length);
    const most = 2n ** BigInt(width) - 1n;
    for (const v of [0n, 1n, -1n, 2n, -2n, most, -most, most - 1n, 1n - most, most / 2n]) {
      // The second threshold is at v, the first below it and the third above it.
      const values = [most, v, -most];
      const shares = values.map((value) => {
        const own = uniformBelow(order, random);
        return [own, value - own] as const;
      });
      const known = shares.flatMap(([own]) => garblerBits(own, width, order));
      const input = shares.flatMap(([, other]) => evaluatorBits(other, width, order));
      expect(levelBothWays(circuit, input, known)).toBe(v > 0n ? 2 : 1);
    }
  });
});

describe('the chance of a wrong comparison', () => {
  it.each([
    { order: 67, width: 1 },
    { order: 101, width: 2 },
    { order: 101, width: 3 },
    { order: 127, width: 4 },
    { order: 251, width: 4 },
  ])('is that of a wrap-around and below 2^(ℓ+1)/P: P = $order, ℓ = $width', ({ order, width }) => {
    const circuit = levelCircuit(width, 1);
    const P = BigInt(order);
    const top = 2 ** width;
    let failures = 0;
    for (let v = 1 - top; v < top; v++) {
      const wrong = range(order).filter((other) => {
        const known = garblerBits(BigInt(v - other), width, P);
        const input = evaluatorBits(BigInt(other), width, P);
        return levelOf(evaluatePlain(circuit, input, known)) !== Number(v > 0);
      });
      // c wraps where v - 1 + 2^ℓ + c >= P: that many shares exactly, and P's own low bits decide.
      const wraps = v - 1 + top;
      const flips = definition(wraps - (order % (2 * top)), 0, width) !== v > 0;
      expect(wrong).toHaveLength(flips ? wraps : 0);
      expect(wrong.every((other) => v - 1 + top + ((order - other) % order) >= order)).toBe(true);
      expect(wrong.length / order).toBeLessThan((2 * top) / order);
      failures += wrong.length;
    }
    expect(failures).toBeGreaterThan(0);
  });
});

describe('a circuit', () => {
  it('of the majority is the majority, with one AND gate', () => {
    const builder = new CircuitBuilder(3, 0);
    const circuit = builder.build([
      builder.majority(builder.input(0), builder.input(1), builder.input(2)),
    ]);
    expect(circuit.ands).toBe(1);
    const bits = range(8).map((value) => bitsOf(value, 3));
    const expected = bits.map((list) => [list.filter(Boolean).length >= 2]);
    expect(bits.map((list) => evaluatePlain(circuit, list, []))).toEqual(expected);
    expect(bits.map((list) => evaluateGarbled(circuit, list, [], random))).toEqual(expected);
  });

  it('has no inputs beyond those it declares, and takes no other number of bits', () => {
    const builder = new CircuitBuilder(2, 1);
    expect(() => builder.input(2)).toThrow(RangeError);
    expect(() => builder.input(-1)).toThrow(RangeError);
    expect(() => builder.xorKnown(builder.zero, 1)).toThrow(RangeError);
    expect(() => builder.xorKnown(builder.zero, -1)).toThrow(RangeError);
    const circuit = builder.build([builder.input(1)]);
    expect(() => evaluatePlain(circuit, [true], [true])).toThrow(RangeError);
    expect(() => evaluatePlain(circuit, [true, true], [])).toThrow(RangeError);
    expect(evaluatePlain(circuit, [false, true], [true])).toEqual([true]);
  });
});
