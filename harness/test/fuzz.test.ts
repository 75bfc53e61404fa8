/** Bad requests to every call: no crash, no hang, no growth, and no answer but the documented ones. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Metadata, status as Status, type ServiceError } from '@grpc/grpc-js';
import { encodeError } from '@duoveil/common/runtime';
import { duoveilError } from '@duoveil/common/errors';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { fuzz, reportOf } from '../src/fuzz/fuzz.js';
import { BadMessages } from '../src/fuzz/messages.js';
import { readWireSchema } from '../src/fuzz/schema.js';
import { FuzzTarget } from '../src/fuzz/target.js';
import { codeOf, objectionTo } from '../src/fuzz/verdict.js';
import { joinFields, splitFields } from '../src/fuzz/wire-format.js';
import { testEngine } from '../src/local/engine.js';
import { PERMISSIONS } from '../src/parties/permissions.js';
import { seededPrng } from '../src/simulation/prng.js';
import { codeSpans, readDocument, section } from './documents.js';

/** `npm run test:fuzz` says a million. */
const MESSAGES = Number(process.env['DUOVEIL_FUZZ_MESSAGES'] ?? 3_000);
const SEED = Number(process.env['DUOVEIL_FUZZ_SEED'] ?? 1);

/**
 * What a server may hold more of, in the end, than after a fifth of the messages, in MiB: its heap
 * grows until it is worth collecting. A leak of 256 bytes a message shows in a million.
 */
const GROWTH_MIB = 160;

const schema = readWireSchema();

/** What docs/errors.md says of each call, without what is the fault of the server itself. */
function documentedCodes(): ReadonlyMap<string, ReadonlySet<string>> {
  const document = readDocument('docs/errors.md');
  const text = section(document, 'By call');
  const every = /^Every call: (.*?)\. A server/ms.exec(text)?.[1] ?? '';
  const common = spans(every);
  const calls = Object.values(PERMISSIONS).flatMap((of) => Object.keys(of));
  return new Map(
    calls.map((path) => {
      if (path.startsWith('/grpc.')) return [path, new Set([...common, '(NOT_FOUND)'])];
      const name = path.replace('/duoveil.v1.', '');
      const own = text.split('\n').find((line) => line.startsWith(`- \`${name}\`: `)) ?? '';
      return [path, new Set([...common, ...spans(own).slice(1)])];
    }),
  );
}

const spans = (text: string): string[] => codeSpans({ path: '', text });

describe('the servers', () => {
  let directory: string;
  let target: FuzzTarget;
  beforeAll(async () => {
    // gRPC asks for a stack at each call; to find its lines in the sources takes longer than the call.
    Reflect.deleteProperty(Error, 'prepareStackTrace');
    directory = await mkdtemp(join(tmpdir(), 'duoveil-fuzz-'));
    target = await FuzzTarget.start(testEngine(), directory);
  });
  afterAll(async () => {
    await target.close();
    await rm(directory, { recursive: true });
  });

  test('refuse what is bad as documented, and serve on', { timeout: 7_200_000 }, async () => {
    await target.record();
    const processes = [target.servers.csp.pid, target.servers.sp.pid];
    const allowed = documentedCodes();
    const result = await fuzz({ seed: SEED, messages: MESSAGES, target, schema, allowed });
    if (MESSAGES > 3_000) process.stdout.write(`\n${reportOf(result)}\n`);
    expect(result.objections).toEqual([]);
    expect(result.messages).toBe(MESSAGES);
    expect(result.answers.size).toBe(
      Object.values(PERMISSIONS).flatMap((calls) => Object.keys(calls)).length,
    );
    for (const { warm, end } of Object.values(result.memory)) {
      expect(end - warm).toBeLessThan(GROWTH_MIB);
    }
    // The same processes, as healthy as before, which have logged no defect.
    expect([target.servers.csp.pid, target.servers.sp.pid]).toEqual(processes);
    expect(target.log.filter((line) => line.includes('"level":"error"'))).toEqual([]);
    await target.requireHealthy();
    await target.serveAnother();
  });
});

describe('the fuzzer', () => {
  test('knows every call, and the fields of its message', () => {
    const calls = schema.calls.map(({ path }) => path);
    for (const path of Object.values(PERMISSIONS).flatMap((of) => Object.keys(of))) {
      expect(calls).toContain(path);
    }
    for (const { request } of schema.calls) expect(schema.messages.has(request)).toBe(true);
    expect(schema.messages.get('duoveil.v1.ScoreRequest')?.map(({ name }) => name)).toEqual([
      ...['model_id', 'sample', 'session_id', 'instance'],
    ]);
  });

  test('makes the same messages from the same seed, in every way', () => {
    const good = joinFields([
      { number: 1, wireType: 2, value: Buffer.from('0123456789') },
      { number: 2, wireType: 2, value: Buffer.from('abcdef') },
    ]);
    expect(splitFields(good)).toHaveLength(2);
    const make = () => {
      const bad = new BadMessages(schema, [good], seededPrng(3, 4));
      return Array.from({ length: 500 }, () => bad.next('duoveil.v1.ScoreRequest', [good]));
    };
    const messages = make();
    // Compared as bytes: to compare them as objects takes minutes.
    make().forEach(({ bytes }, i) => {
      expect(messages[i]?.bytes.equals(bytes)).toBe(true);
    });
    expect(new Set(messages.map(({ made }) => made)).size).toBe(16);
    expect(messages.filter(({ bytes }) => bytes.equals(good)).length).toBeLessThan(50);
    expect(messages.some(({ bytes }) => splitFields(bytes) === undefined)).toBe(true);
  });

  test('objects to answers that should not be given', () => {
    const allowed = new Set(['KEY_INVALID', 'MESSAGE_INVALID']);
    const answer = (error: unknown, change: Partial<ServiceError> = {}): ServiceError =>
      Object.assign(new Error('failed'), encodeError(error, '0123456789abcdef'), change);
    const known = duoveilError('KEY_INVALID', 'no', { field: 'a' });
    const good = answer(known);
    expect(objectionTo(undefined, allowed)).toBeUndefined();
    expect(objectionTo(good, allowed)).toBeUndefined();
    expect(codeOf(good)).toBe('KEY_INVALID');
    const bad: [ServiceError, RegExp][] = [
      [answer(new TypeError('a defect')), /INTERNAL is not documented/],
      [answer(duoveilError('SESSION_NOT_OPEN', 'no')), /SESSION_NOT_OPEN is not documented/],
      [answer(known, { metadata: withoutDetails() }), /KEY_INVALID does not decode/],
      [answer(duoveilError('DEADLINE_EXCEEDED', 'no', { peer: 'a' })), /is not documented/],
      [answer(known, { details: 'at Object.<anonymous> (file:///x.js:1:1)' }), /says too much/],
      [answer(known, { details: `p is ${'17'.repeat(40)}` }), /says too much/],
      [
        answer(known, { metadata: new Metadata(), code: Status.INTERNAL, details: 'x' }),
        /\(INTERNAL\) is not documented/,
      ],
    ];
    for (const [one, pattern] of bad) expect(objectionTo(one, allowed)).toMatch(pattern);
  });

  function withoutDetails(): Metadata {
    const metadata = new Metadata();
    metadata.set('duoveil-code', 'KEY_INVALID');
    metadata.set('duoveil-details', '{}');
    return metadata;
  }
});
