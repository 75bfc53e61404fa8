/**
 * Boolean circuits for two parties of whom one, the garbler, knows some bits when it garbles. Such a
 * bit costs nothing: it only decides which of a wire's two meanings is which. XOR and NOT are free as
 * well; what counts is the number of AND gates.
 */

declare const wireBrand: unique symbol;

/** A wire: the constant 0, an input of the evaluator's, or the output of a gate. */
export type Wire = number & { readonly [wireBrand]: true };

/** A gate; its output is the next wire after all inputs and earlier gates. */
export type Gate =
  | { readonly kind: 'xor'; readonly a: Wire; readonly b: Wire }
  | { readonly kind: 'and'; readonly a: Wire; readonly b: Wire }
  | { readonly kind: 'not'; readonly a: Wire }
  /** XOR with a bit that the garbler knows. */
  | { readonly kind: 'known'; readonly a: Wire; readonly bit: number };

/** A circuit. Wire 0 is the constant 0; then come the evaluator's inputs, then the gates' outputs. */
export interface Circuit {
  /** Bits of the evaluator's input. */
  readonly inputs: number;
  /** Bits that the garbler knows. */
  readonly known: number;
  readonly gates: readonly Gate[];
  /** How many of the gates are AND gates. */
  readonly ands: number;
  readonly outputs: readonly Wire[];
}

/** Builds a circuit gate by gate. All inputs are declared first. */
export class CircuitBuilder {
  readonly #inputs: number;
  readonly #known: number;
  readonly #gates: Gate[] = [];

  /** The constant 0. */
  readonly zero = 0 as Wire;

  /**
   * @param inputs bits of the evaluator's input
   * @param known bits that the garbler knows
   */
  constructor(inputs: number, known: number) {
    this.#inputs = inputs;
    this.#known = known;
  }

  /** The evaluator's input bit at an index. */
  input(index: number): Wire {
    if (index < 0 || index >= this.#inputs) throw new RangeError(`no input ${index}`);
    return (1 + index) as Wire;
  }

  xor(a: Wire, b: Wire): Wire {
    return this.#add({ kind: 'xor', a, b });
  }

  and(a: Wire, b: Wire): Wire {
    return this.#add({ kind: 'and', a, b });
  }

  not(a: Wire): Wire {
    return this.#add({ kind: 'not', a });
  }

  /** XOR with a bit that the garbler knows. */
  xorKnown(a: Wire, bit: number): Wire {
    if (bit < 0 || bit >= this.#known) throw new RangeError(`no known bit ${bit}`);
    return this.#add({ kind: 'known', a, bit });
  }

  /** 1 where at least two of three are 1: `b ⊕ (a ⊕ b)(c ⊕ b)`, one AND. */
  majority(a: Wire, b: Wire, c: Wire): Wire {
    return this.xor(b, this.and(this.xor(a, b), this.xor(c, b)));
  }

  build(outputs: readonly Wire[]): Circuit {
    return {
      inputs: this.#inputs,
      known: this.#known,
      gates: [...this.#gates],
      ands: this.#gates.filter(({ kind }) => kind === 'and').length,
      outputs: [...outputs],
    };
  }

  #add(gate: Gate): Wire {
    this.#gates.push(gate);
    return (this.#inputs + this.#gates.length) as Wire;
  }
}

/** What a circuit computes, in the clear: the meaning that garbling must keep. */
export function evaluatePlain(
  { inputs, known, gates, outputs }: Circuit,
  inputBits: readonly boolean[],
  knownBits: readonly boolean[],
): boolean[] {
  if (inputBits.length !== inputs || knownBits.length !== known) {
    throw new RangeError('the bits do not belong to this circuit');
  }
  const values = [false, ...inputBits];
  const value = (wire: Wire): boolean => values[wire] ?? false;
  for (const gate of gates) {
    switch (gate.kind) {
      case 'xor':
        values.push(value(gate.a) !== value(gate.b));
        break;
      case 'and':
        values.push(value(gate.a) && value(gate.b));
        break;
      case 'not':
        values.push(!value(gate.a));
        break;
      case 'known':
        values.push(value(gate.a) !== (knownBits[gate.bit] ?? false));
        break;
    }
  }
  return outputs.map(value);
}
