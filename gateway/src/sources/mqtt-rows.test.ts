import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { isDuoveilError } from '@duoveil/common/errors';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { atPointer, isPointer } from './json-pointer.js';
import { readMqttMapping } from './mqtt-mapping.js';
import type { MqttMapping } from './mqtt-mapping.js';
import { RowMapper } from './mqtt-rows.js';
import type { MappedMessage } from './mqtt-rows.js';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-mapping-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

const CHANNELS = ['HR', 'SpO2'];
const AT = Date.UTC(2026, 4, 4, 10, 44, 18);
const HEAD = 'broker: mqtts://broker.example:8883\nclientId: ward-7\n';
const WHOLE = `${HEAD}message:
  topic: monitors/7/vitals
  time: /at
  channels: { HR: /hr/0, SpO2: /o2~1 }
`;
const OWN = `${HEAD}channels:
  HR: { topic: monitors/7/hr }
  SpO2: { topic: monitors/7/spo2, value: /v, time: /t }
`;

async function mapping(text: string): Promise<MqttMapping> {
  const path = join(directory, 'mapping.yaml');
  await writeFile(path, text);
  return readMqttMapping(
    path,
    CHANNELS.map((name) => ({ name })),
  );
}

const mapper = async (text: string) => new RowMapper(await mapping(text), CHANNELS, 500, () => AT);
const message = (topic: string, content: unknown): MappedMessage => ({
  topic: `monitors/7/${topic}`,
  payload: Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)),
});

describe('a mapping', () => {
  it.each<[string, string, string | RegExp]>([
    ['no YAML', '{', 'is neither YAML nor JSON'],
    ['another key', `${WHOLE}x: 1\n`, /x/],
    ['neither way', HEAD, 'message: one of message and channels is needed, not both'],
    ['both ways', WHOLE + OWN.slice(HEAD.length), /one of message and channels is needed/],
    ['a broker that is none', WHOLE.replace('mqtts:', 'https:'), /^broker: must be as mqtts:/],
    [
      'a password',
      WHOLE.replace('//', '//a:secret@'),
      'broker: must not hold a name or a password',
    ],
    ['a wildcard', WHOLE.replace('/7/', '/+/'), /^message.topic: must name one topic, without/],
    ['a pointer', WHOLE.replace('/at', 'at'), /^message.time: must be a JSON pointer/],
    ['a topic twice', OWN.replace('7/spo2', '7/hr'), 'channels: topics must differ'],
    ['a key alone', `${WHOLE}tls: { key: a.key }\n`, 'tls: certificate and key go together'],
    [
      'a missing channel',
      OWN.replace('SpO2', 'RESP'),
      'channels: "SpO2" is monitored but not mapped',
    ],
  ])('is refused for %s', async (_, text, problem) => {
    const failure: unknown = await mapping(text).catch((error: unknown) => error);
    if (!isDuoveilError(failure, 'CONFIG_INVALID')) throw new Error('not refused');
    const said = failure.message.slice(failure.message.indexOf('.yaml: ') + 7);
    if (typeof problem === 'string') expect(said).toBe(problem);
    else expect(said).toMatch(problem);
    expect(said).not.toContain('secret');
  });
});

describe('a message with all channels', () => {
  it('is a row', async () => {
    const rows = await mapper(WHOLE);
    expect(rows.topics).toEqual(['monitors/7/vitals']);
    expect(rows.take(message('vitals', { at: AT, hr: [94], 'o2/': '97' }))).toEqual([
      { cells: { HR: '94', SpO2: '97' }, measuredAt: AT },
    ]);
    expect(rows.take(message('vitals', { at: AT, hr: [null] }))).toEqual([
      { cells: { HR: undefined, SpO2: undefined }, measuredAt: AT },
    ]);
  });

  it('has a problem where it cannot be read', async () => {
    const rows = await mapper(WHOLE);
    const problems = [{ hr: [94] }, '94', '{', `[${'9,'.repeat(40_000)}9]`].map(
      (content) => rows.take(message('vitals', content))[0]?.problem,
    );
    const whose = 'a message of "monitors/7/vitals": ';
    expect(problems).toEqual([
      expect.stringContaining(`${whose}"/at" must be a date and time`),
      expect.stringContaining(`${whose}"/at" must be a date and time`),
      `${whose}is not JSON`,
      `${whose}is longer than 65536 bytes`,
    ]);
  });
});

describe('topics of their own', () => {
  it('make a row together; what it waits for is known', async () => {
    const rows = await mapper(OWN);
    expect(rows.topics).toEqual(['monitors/7/hr', 'monitors/7/spo2']);
    const [hr, spo2] = [message('hr', ' 94.5'), message('spo2', { v: 97, t: AT + 300 })];
    expect(rows.take(hr)).toEqual([]);
    expect([rows.isPending(hr), rows.isPending(spo2)]).toEqual([true, false]);
    // The first told no time, so the row has none.
    expect(rows.take(spo2)).toEqual([{ cells: { HR: ' 94.5', SpO2: '97' } }]);
    expect([rows.isPending(hr), rows.isPending(spo2)]).toEqual([false, false]);
    expect(rows.take(message('other', '1'))).toEqual([]);
  });

  it('takes any messages', async () => {
    const both = [await mapper(WHOLE), await mapper(OWN)];
    const topic = fc.constantFrom('vitals', 'hr', 'spo2');
    const content = fc.oneof(fc.string(), fc.json(), fc.record({ v: fc.jsonValue(), t: fc.nat() }));
    fc.assert(
      fc.property(topic, content, (name, value) => {
        const text = typeof value === 'string' ? value : JSON.stringify(value);
        for (const rows of both) {
          for (const { cells } of rows.take(message(name, text))) {
            for (const cell of Object.values(cells)) expect(typeof (cell ?? '')).toBe('string');
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('atPointer', () => {
  it('finds what RFC 6901 says', () => {
    const value = { foo: ['bar', 'baz'], '': 0, 'a/b': 1, 'm~n': 8 };
    const found = ['', '/foo', '/foo/0', '/', '/a~1b', '/m~0n', '/foo/2', '/constructor'];
    expect(found.map((pointer) => atPointer(value, pointer))).toEqual([
      ...[value, ['bar', 'baz'], 'bar', 0, 1, 8, undefined, undefined],
    ]);
    expect(['foo', '/a~2', '~', '/~'].some(isPointer)).toBe(false);
  });
});
