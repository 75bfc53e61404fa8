/**
 * A dishonest garbler: tables from which the evaluator's labels, and with them its input, would come
 * back. What stops it: the evaluator answers with the colours of the outputs alone.
 */
import { createCipheriv } from 'node:crypto';

import { packingPlan, type PackingPlan } from '@duoveil/common/encoding';
import {
  drawDelta,
  evaluate,
  evaluateComparison,
  garbleComparison,
  inputCount,
  LABEL_BYTES,
  outputCount,
  requestComparison,
  requestLabels,
  type Circuit,
  type ExtensionReceiver,
  type ExtensionSender,
  type GarbledCircuit,
  type PendingComparison,
} from '@duoveil/common/protocols/compare';
import { uniformBelow } from '@duoveil/common/random';
import { describe, expect, it } from 'vitest';

import { SeededRandom } from '../../src/local/randomness.js';
import { schemaOfBits } from '../../src/local/schemas.js';
import { codeOf } from './support.js';

const random = new SeededRandom('attacks/garbling');
const planFor = (thresholds: number) =>
  packingPlan(
    schemaOfBits(8),
    3,
    512,
    Array.from({ length: thresholds }, (_, i) => BigInt(300_000 * (i + 1))),
  );
const plan = planFor(3);

/** Both ends of a session as base transfers leave them. */
function session(): { sender: ExtensionSender; receiver: ExtensionReceiver } {
  const { delta, choices } = drawDelta(random);
  const pairs = choices.map(() => [random.bytes(16), random.bytes(16)] as const);
  const chosen = pairs.map((pair, j) => pair[choices[j] === true ? 1 : 0]);
  return { sender: { delta, keys: chosen }, receiver: { keys: pairs } };
}

const { sender, receiver } = session();
let instance = 0;

/** A comparison of random shares: what the CSP waits with, and what an honest garbler would send. */
function comparison(of: PackingPlan = plan) {
  instance += 1;
  const draw = () => uniformBelow(of.field.order, random);
  const shares = () => ({ numerator: draw(), determinant: draw() });
  const { pending, message } = requestComparison(receiver, of, shares(), instance);
  const { garbled } = garbleComparison(sender, of, shares(), message, instance, random);
  return { pending, garbled };
}

/** An evaluator without protection: it answers with the outputs' labels. */
function wholeLabels(
  circuit: Circuit,
  inputLabels: Uint8Array,
  { hashKey, tables }: GarbledCircuit,
): bigint[] {
  const cipher = createCipheriv('aes-128-ecb', hashKey, null).setAutoPadding(false);
  const top = 1n << 128n;
  const integer = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  const hash = (label: bigint, tweak: number): bigint => {
    const doubled = label << 1n;
    const input = (doubled >= top ? (doubled % top) ^ 0x87n : doubled) ^ BigInt(tweak);
    const block = Buffer.from(input.toString(16).padStart(32, '0'), 'hex');
    return integer(cipher.update(block)) ^ input;
  };
  const slice = (from: Uint8Array, i: number) =>
    integer(from.subarray(i * LABEL_BYTES, (i + 1) * LABEL_BYTES));
  const labels = [0n];
  for (let i = 0; i < circuit.inputs; i++) labels.push(slice(inputLabels, i));
  let ands = 0;
  for (const gate of circuit.gates) {
    const a = labels[gate.a] ?? 0n;
    if (gate.kind === 'not' || gate.kind === 'known') labels.push(a);
    else if (gate.kind === 'xor') labels.push(a ^ (labels[gate.b] ?? 0n));
    else {
      const b = labels[gate.b] ?? 0n;
      const left = hash(a, 2 * ands) ^ ((a & 1n) * slice(tables, 2 * ands));
      const right = hash(b, 2 * ands + 1) ^ ((b & 1n) * (slice(tables, 2 * ands + 1) ^ a));
      labels.push(left ^ right);
      ands += 1;
    }
  }
  return circuit.outputs.map((wire) => labels[wire] ?? 0n);
}

const colours = (labels: readonly bigint[]) => labels.map((label) => (label & 1n) === 1n);
const whole = ({ circuit, labels }: PendingComparison, garbled: GarbledCircuit) =>
  wholeLabels(circuit, labels, garbled);

/** Tables that an honest garbler would not send. */
const dishonest: Readonly<Record<string, (garbled: GarbledCircuit) => GarbledCircuit>> = {
  zeros: ({ hashKey, tables }) => ({ hashKey, tables: new Uint8Array(tables.length) }),
  random: ({ hashKey, tables }) => ({ hashKey, tables: random.bytes(tables.length) }),
  reversed: ({ hashKey, tables }) => ({ hashKey, tables: Uint8Array.from(tables).reverse() }),
  'halves swapped': ({ hashKey, tables }) => ({
    hashKey,
    tables: Uint8Array.from(tables, (_, i) => tables[i ^ LABEL_BYTES] ?? 0),
  }),
  'for another key': ({ tables }) => ({ hashKey: random.bytes(LABEL_BYTES), tables }),
};

describe('an evaluator that would answer with whole labels', () => {
  it('computes as the real one does', () => {
    for (let i = 0; i < 10; i++) {
      const { pending, garbled } = comparison();
      for (const make of [(same: GarbledCircuit) => same, ...Object.values(dishonest)]) {
        const sent = make(garbled);
        expect(colours(whole(pending, sent))).toEqual(evaluateComparison(pending, sent));
      }
    }
  });

  it('gives the garbler a bit of its input beside the level, by one changed table', () => {
    // The circuit's first AND gate: its second wire is the lowest bit of the evaluator's input.
    const order = plan.field.order;
    const delta = BigInt(`0x${Buffer.from(sender.delta).toString('hex')}`);
    let unread = 0;
    for (let i = 0; i < 40; i++) {
      instance += 1;
      const share = () => uniformBelow(order, random);
      const mine = { numerator: share(), determinant: share() };
      const theirs = { numerator: share(), determinant: share() };
      const { pending, message } = requestComparison(receiver, plan, theirs, instance);
      const { garbled } = garbleComparison(sender, plan, mine, message, instance, random);
      const changed = Uint8Array.from(garbled.tables);
      changed[LABEL_BYTES] = (changed[LABEL_BYTES] ?? 0) ^ 0x80;
      const sent = { hashKey: garbled.hashKey, tables: changed };
      const clean = whole(pending, garbled);
      const seen = whole(pending, sent);
      // The half is used only where the colour of the bit's label is 1, which the garbler can tell.
      const touched = ((pending.labels[LABEL_BYTES - 1] ?? 0) & 1) === 1;
      const honest = (j: number) => [clean[j], (clean[j] ?? 0n) ^ delta];
      // It knows both honest labels of each output: any other one says that the half was used.
      expect(seen.some((label, j) => !honest(j).includes(label))).toBe(touched);
      // In the colours it can go under: they have no room for it beside the level.
      const real = evaluateComparison(pending, sent);
      expect(real).toHaveLength(outputCount(plan));
      if (touched && real.every((colour, j) => colour === colours(clean)[j])) unread += 1;
    }
    expect(unread).toBeGreaterThan(0);
  });
});

describe('the answer space of a comparison', () => {
  it.each([1, 2, 3, 7])(
    'with %i thresholds has no more than ⌈log₂(k+1)⌉ bits whatever the tables, where whole labels give each input away',
    (thresholds) => {
      const of = planFor(thresholds);
      const outputs = Math.ceil(Math.log2(thresholds + 1));
      expect(outputCount(of)).toBe(outputs);
      const { garbled } = comparison(of);
      for (const make of Object.values(dishonest)) {
        const sent = make(garbled);
        const answers = new Set<string>();
        const unprotected = new Set<string>();
        for (let i = 0; i < 20; i++) {
          const { pending } = comparison(of);
          answers.add(evaluateComparison(pending, sent).map(Number).join(''));
          unprotected.add(whole(pending, sent).join('/'));
        }
        for (const answer of answers) expect(answer).toMatch(new RegExp(`^[01]{${outputs}}$`));
        expect(answers.size).toBeLessThanOrEqual(2 ** outputs);
        // As many answers as inputs: a garbler that knows both labels of each bit looks them up.
        expect(unprotected.size).toBe(20);
      }
    },
  );
});

describe('tables, keys and labels of a wrong length', () => {
  it('are refused, whichever it is, and never read beyond', async () => {
    const { pending, garbled } = comparison();
    const { hashKey, tables } = garbled;
    const attempt = (sent: GarbledCircuit) =>
      codeOf(Promise.resolve().then(() => evaluateComparison(pending, sent)));
    expect(await attempt(garbled)).toBeUndefined();
    const bad = [
      { hashKey, tables: tables.subarray(1) },
      { hashKey, tables: tables.subarray(0, -LABEL_BYTES) },
      { hashKey, tables: new Uint8Array(0) },
      { hashKey, tables: Buffer.concat([tables, tables]) },
      { hashKey: hashKey.subarray(1), tables },
      { hashKey: new Uint8Array(32), tables },
    ];
    for (const sent of bad) expect(await attempt(sent)).toBe('MESSAGE_INVALID');
    // The plain evaluation of a circuit, without that check, does not read beyond either.
    expect(() =>
      evaluate(pending.circuit, pending.labels, { hashKey, tables: tables.subarray(1) }),
    ).toThrow(RangeError);
  });
});

describe('an instance of a session that is used twice', () => {
  it('shows how two inputs differ; another instance shows nothing', () => {
    const count = inputCount(plan);
    const bits = () => Array.from({ length: count }, () => (random.bytes(1)[0] ?? 0) < 128);
    const [first, second] = [bits(), bits()];
    const difference = (one: number, other: number): boolean[] => {
      const left = requestLabels(receiver, first, one).message;
      const right = requestLabels(receiver, second, other).message;
      return first.map((_, i) => {
        const byte = (left[i >> 3] ?? 0) ^ (right[i >> 3] ?? 0);
        return ((byte >> (i & 7)) & 1) === 1;
      });
    };
    const secret = first.map((bit, i) => bit !== second[i]);
    expect(difference(900_000, 900_000)).toEqual(secret);
    const apart = difference(900_000, 900_001);
    const agreeing = apart.filter((bit, i) => bit === secret[i]).length;
    expect(Math.abs(agreeing / count - 0.5)).toBeLessThan(2.5 / Math.sqrt(count));
  });
});
