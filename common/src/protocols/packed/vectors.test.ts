/**
 * Replays the transcript vectors of `common/test/vectors/packed`: every draw, every message, every
 * output. `DUOVEIL_WRITE_VECTORS=1` writes the files anew first; see
 * `harness/src/local/packed-vectors.ts`.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';

import { afterAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../../harness/src/local/engine.js';
import {
  makePackedVectors,
  PACKED_SCENARIOS,
  replayPackedVector,
  type PackedVector,
  type PackedVectorFile,
} from '../../../../harness/src/local/packed-vectors.js';
import { exactMd2 } from '../../../../harness/src/oracle/model.js';
import { elementAt } from '../../lists.js';

const FOLDER = new URL('../../../test/vectors/packed/', import.meta.url);
const engine = testEngine();
afterAll(() => engine.close());

if (process.env['DUOVEIL_WRITE_VECTORS'] === '1') {
  mkdirSync(FOLDER, { recursive: true });
  for (const name of Object.keys(PACKED_SCENARIOS)) {
    const text = JSON.stringify(await makePackedVectors(name, engine), null, 1);
    writeFileSync(new URL(`${name}.json`, FOLDER), `${text}\n`);
  }
}

const read = (name: string): PackedVectorFile =>
  JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as PackedVectorFile;
const vectorOf = (name: string): PackedVector => elementAt(read(name).vectors, 0);

describe.each(Object.keys(PACKED_SCENARIOS))('the packed vectors of %s', (name) => {
  it('say what they show', () => {
    const { comment, vectors } = read(name);
    expect(comment).toBe(PACKED_SCENARIOS[name]?.comment);
    expect(vectors).toHaveLength(1);
  });

  it('replay to the same messages and outputs', async () => {
    for (const vector of read(name).vectors) {
      const { messages, outputs } = vector;
      expect(messages.length).toBeGreaterThan(0);
      expect(await replayPackedVector(name, vector, engine)).toEqual({ messages, outputs });
    }
  });

  it('are what the generator makes', async () => {
    expect(await makePackedVectors(name, engine)).toEqual(read(name));
  });
});

describe('a packed vector', () => {
  /** A copy with the hexadecimal digit at `index` of a text changed. */
  const flip = (text: string, index: number) =>
    text.slice(0, index) + (text[index] === '0' ? '1' : '0') + text.slice(index + 1);

  /** Another draw, small enough for every bound. */
  const lessened = (draw: string) => (draw.startsWith('00') ? '01' : '00') + draw.slice(2);

  const mismatch = async (name: string, changed: PackedVector) => {
    const { messages, outputs } = changed;
    const replayed = await replayPackedVector(name, changed, engine).catch((e: unknown) => e);
    expect(replayed).not.toEqual({ messages, outputs });
  };

  it('with one digit of a message or of an output changed does not match', async () => {
    for (const name of ['train', 'score']) {
      const vector = vectorOf(name);
      for (const [m, message] of vector.messages.entries()) {
        const content = message.content.map((text) => flip(text, text.length - 1));
        const changed = { ...message, content };
        const messages = vector.messages.map((item, i) => (i === m ? changed : item));
        await mismatch(name, { ...vector, messages });
      }
      for (const [key, list] of Object.entries(vector.outputs)) {
        const outputs = { ...vector.outputs, [key]: list.map((text) => flip(text, 0)) };
        await mismatch(name, { ...vector, outputs });
      }
    }
  });

  it('with a draw, a key or an input changed does not match', async () => {
    const trained = vectorOf('train');
    for (let i = 0; i < trained.random.length; i++) {
      const random = trained.random.map((draw, j) => (i === j ? lessened(draw) : draw));
      await mismatch('train', { ...trained, random });
    }
    const vector = vectorOf('score');
    await mismatch('score', { ...vector, sample: ['69', '28f'] });
    await mismatch('score', { ...vector, secretKey: flip(vector.secretKey, 9) });
    await mismatch('score', { ...vector, generator: flip(vector.generator, 9) });
    for (const field of ['generator', 'zeros'] as const) {
      const provider = { ...vector.provider, [field]: flip(vector.provider[field], 9) };
      await mismatch('score', { ...vector, provider });
    }
  });

  it('with a draw too few or too many is refused', async () => {
    const vector = vectorOf('train');
    const { random } = vector;
    const replay = (draws: readonly string[]) =>
      replayPackedVector('train', { ...vector, random: draws }, engine);
    await expect(replay(random.slice(0, -1))).rejects.toThrow('ran dry');
    await expect(replay([...random, elementAt(random, 0)])).rejects.toThrow('1 draws were left');
  });

  it('of scoring ends at the distance of the oracle', () => {
    const { window, sample, outputs } = vectorOf('score');
    const integers = (texts: readonly string[]) => texts.map((text) => BigInt(`0x${text}`));
    const { numerator, denominator } = exactMd2(window.map(integers), integers(sample), [4n, 1n]);
    expect(integers(outputs['exact'] ?? [])).toEqual([numerator, denominator]);
  });

  it('is there for every scenario, and for nothing else', () => {
    expect(readdirSync(FOLDER).sort()).toEqual(
      Object.keys(PACKED_SCENARIOS)
        .map((name) => `${name}.json`)
        .sort(),
    );
  });
});
