/**
 * Comparison of a number that is shared between two parties with zero, for several numbers at once.
 *
 * `s_SP + s_CSP = v (mod P)` with `|v| < 2^ℓ`. With `u = (s_SP - 1 + 2^ℓ) mod P` and
 * `c = -s_CSP mod P`, `v > 0` exactly where bit `ℓ` of `(u - c) mod 2^(ℓ+1)` is 1 — except where
 * `v - 1 + 2^ℓ + c` wraps around `P`, a chance of at most `2^(ℓ+1)/P` over a uniform share. The
 * garbler knows `u`; the evaluator's input is `c`: a borrow chain of `ℓ` AND gates.
 */
import { CircuitBuilder, type Circuit, type Wire } from './circuit.js';

/**
 * The level circuit: of `k` comparisons whose results are ordered, `e₁ ≥ e₂ ≥ … ≥ e_k`, how many are
 * 1, in binary, lowest bit first. Bit `j` of a count changes at the multiples of `2^j`, so it is the
 * XOR of the results there: no further AND gate.
 * @param width `ℓ`
 * @param comparisons `k`
 */
export function levelCircuit(width: number, comparisons: number): Circuit {
  const bits = width + 1;
  const builder = new CircuitBuilder(bits * comparisons, bits * comparisons);
  const results = Array.from({ length: comparisons }, (_, i) =>
    isPositive(builder, bits, i * bits),
  );
  return builder.build(
    Array.from({ length: levelBits(comparisons) }, (_, j) =>
      results
        .filter((__, i) => (i + 1) % 2 ** j === 0)
        .reduce((sum, result) => builder.xor(sum, result), builder.zero),
    ),
  );
}

/** Bits of a level from 0 to `k`. */
export function levelBits(comparisons: number): number {
  return Math.ceil(Math.log2(comparisons + 1));
}

/** Bit `bits - 1` of `u - c`: `u` known to the garbler, `c` the evaluator's, both from `offset` on. */
function isPositive(builder: CircuitBuilder, bits: number, offset: number): Wire {
  let borrow = builder.zero;
  for (let i = 0; i < bits - 1; i++) {
    const c = builder.input(offset + i);
    // borrow' = majority(¬u, c, borrow) = borrow ⊕ (¬u ⊕ borrow)(c ⊕ borrow), u folded into its wire.
    const notU = builder.not(builder.xorKnown(borrow, offset + i));
    borrow = builder.xor(borrow, builder.and(notU, builder.xor(c, borrow)));
  }
  const top = offset + bits - 1;
  return builder.xorKnown(builder.xor(builder.input(top), borrow), top);
}

/** The garbler's bits of one comparison: `(s_SP - 1 + 2^ℓ) mod P`, the `ℓ + 1` lowest. */
export function garblerBits(share: bigint, width: number, order: bigint): boolean[] {
  return lowBits(modulo(share - 1n + (1n << BigInt(width)), order), width + 1);
}

/** The evaluator's bits of one comparison: `-s_CSP mod P`, the `ℓ + 1` lowest. */
export function evaluatorBits(share: bigint, width: number, order: bigint): boolean[] {
  return lowBits(modulo(-share, order), width + 1);
}

/** The level that output bits say. */
export function levelOf(bits: readonly boolean[]): number {
  return bits.reduce((level, bit, j) => level + (bit ? 2 ** j : 0), 0);
}

function lowBits(value: bigint, count: number): boolean[] {
  return Array.from({ length: count }, (_, i) => ((value >> BigInt(i)) & 1n) === 1n);
}

function modulo(value: bigint, m: bigint): bigint {
  const remainder = value % m;
  return remainder < 0n ? remainder + m : remainder;
}
