/**
 * Replays the transcript vectors of `common/test/vectors/reference`: every draw, every message, every
 * output. `DUOVEIL_WRITE_VECTORS=1` writes the files anew first; see `harness/src/local/vectors.ts`.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { testEngine } from '../../../../harness/src/local/engine.js';
import {
  makeVectors,
  replayVector,
  SCENARIOS,
  type Vector,
  type VectorFile,
} from '../../../../harness/src/local/vectors.js';

const FOLDER = new URL('../../../test/vectors/reference/', import.meta.url);
const engine = testEngine();

if (process.env['DUOVEIL_WRITE_VECTORS'] === '1') {
  mkdirSync(FOLDER, { recursive: true });
  for (const name of Object.keys(SCENARIOS)) {
    const text = JSON.stringify(await makeVectors(name, engine), null, 1);
    writeFileSync(new URL(`${name}.json`, FOLDER), `${text}\n`);
  }
}

const read = (name: string): VectorFile =>
  JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as VectorFile;

describe.each(Object.keys(SCENARIOS))('the vectors of %s', (name) => {
  const { comment, vectors } = read(name);

  it('say what they show', () => {
    expect(comment).toBe(SCENARIOS[name]?.comment);
    expect(vectors.map(({ family }) => family)).toEqual(SCENARIOS[name]?.families);
  });

  it.each(vectors)('replay to the same messages and outputs: $family', async (vector) => {
    const { messages, outputs } = vector;
    expect(messages.length).toBeGreaterThan(0);
    expect(await replayVector(name, vector, engine)).toEqual({ messages, outputs });
  });

  it('are what the generator makes', async () => {
    expect(await makeVectors(name, engine)).toEqual(read(name));
  });
});

describe('a vector', () => {
  const [vector] = read('multiply').vectors;

  const mismatch = async (changed: Vector) => {
    const { messages, outputs } = changed;
    const replayed = await replayVector('multiply', changed, engine).catch((e: unknown) => e);
    expect(replayed).not.toEqual({ messages, outputs });
  };

  /** A copy with the hexadecimal digit at `index` of one text changed. */
  const flip = (text: string, index: number) =>
    text.slice(0, index) + (text[index] === '0' ? '1' : '0') + text.slice(index + 1);

  /** Another draw, small enough for every bound, so that a rejected one would be accepted. */
  const lessened = (draw: string) => (draw.startsWith('00') ? '01' : '00') + draw.slice(2);

  it('with one digit of a message changed does not match', async () => {
    if (vector === undefined) throw new Error('no vector');
    for (const [m, message] of vector.messages.entries()) {
      const changed = structuredClone(vector) as unknown as {
        messages: { content: { b: string }[] }[];
      };
      const target = changed.messages[m]?.content.at(-1);
      const [before] = message.content.slice(-1);
      if (target === undefined || typeof before !== 'object') throw new Error('no content');
      target.b = flip(before.b, before.b.length - 1);
      await mismatch(changed as unknown as Vector);
    }
  });

  it('with a draw, an input or the key changed does not match', async () => {
    if (vector === undefined) throw new Error('no vector');
    for (let i = 0; i < vector.random.length; i++) {
      await mismatch({
        ...vector,
        random: vector.random.map((draw, j) => (i === j ? lessened(draw) : draw)),
      });
    }
    const operands = (vector.inputs['operands'] ?? []).map((text, i) => (i === 0 ? '2' : text));
    await mismatch({ ...vector, inputs: { operands } });
    await mismatch({ ...vector, secretKey: flip(vector.secretKey, 9) });
    await mismatch({ ...vector, generator: flip(vector.generator, 9) });
  });

  it('with a draw too few or too many is refused', async () => {
    if (vector === undefined) throw new Error('no vector');
    const { random } = vector;
    const [first = ''] = random;
    await expect(
      replayVector('multiply', { ...vector, random: random.slice(0, -1) }, engine),
    ).rejects.toThrow('ran dry');
    await expect(
      replayVector('multiply', { ...vector, random: [...random, first] }, engine),
    ).rejects.toThrow('1 draws were left');
  });

  it('is there for every scenario, and for nothing else', () => {
    expect(readdirSync(FOLDER).sort()).toEqual(
      Object.keys(SCENARIOS)
        .map((name) => `${name}.json`)
        .sort(),
    );
  });
});
