/** That the fault simulation can fail: parts that are wrong on purpose, and what it says of each. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { IngestRequest, IngestResponse } from '@duoveil/proto';
import { describe, expect, test } from 'vitest';

import {
  differenceInStore,
  expectedResults,
  FaultCounts,
  GatewayCertificates,
  planList,
  runBatch,
  ToldRows,
} from '../src/faults/index.js';
import type {
  Doubles,
  GatewayOperation,
  KeptDecision,
  MessageFault,
  OperationList,
} from '../src/faults/index.js';
import { testEngine } from '../src/local/engine.js';
import { readStore } from './support/faults.js';

/** A server that acknowledges a sample before it stores it, and loses some between the two. */
function hasty(): Doubles {
  const lost = new Set<bigint>();
  return {
    meddle: (good) => async (message) => {
      if (message.method !== 'Ingest' || message.direction !== 'request') return good(message);
      const { message: request } = IngestRequest.decode(message.bytes);
      if (request?.$case !== 'sample') return good(message);
      const { sequence } = request.value;
      if (sequence % 3n !== 0n || lost.has(sequence)) return good(message);
      lost.add(sequence);
      const early = IngestResponse.encode({
        message: { $case: 'acknowledged', value: { sequence } },
      });
      await message.answer?.(Buffer.from(early.finish()));
      return [];
    },
  };
}

/** A gateway that takes what it has sent for what has arrived, and keeps nothing of it. */
const careless: Doubles = {
  meddleWithSpool: (spool) => {
    Object.defineProperty(spool, 'oldest', { get: () => spool.acknowledged + 1 });
    const read = spool.from.bind(spool);
    spool.from = (sequence, limit) => {
      const samples = read(sequence, limit);
      spool.acknowledge(samples.at(-1)?.sequence ?? 0);
      return samples;
    };
    return spool;
  },
};

const fault = (fields: Partial<MessageFault>): GatewayOperation => {
  const usual = { method: 'Ingest', direction: 'request', does: 'drop', after: 0, ms: 5 } as const;
  return { kind: 'fault', fault: { ...usual, ...fields } };
};

/** A list of one's own: some rows, something that happens, the rest. */
function listWith(seed: number, happens: GatewayOperation): OperationList {
  const list = planList(seed);
  const rows = list.patient.rows.length;
  return {
    ...list,
    ownProcess: false,
    operations: [
      { kind: 'send', rows: 2 },
      { kind: 'wait' },
      happens,
      { kind: 'send', rows: rows - 2 },
    ],
  };
}

/** How either side says so, whichever is the first to notice. */
const LOST = /has lost samples|is the next one|must have the sequence number|acknowledged/;

/** What is wrong, and how it is noticed. */
const BROKEN: readonly (readonly [OperationList, Doubles | undefined, RegExp])[] = [
  [listWith(101, { kind: 'wait' }), hasty(), LOST],
  [listWith(102, fault({})), careless, LOST],
  // A decision that is there twice is told twice.
  [
    listWith(103, fault({ method: 'Watch', direction: 'response', does: 'duplicate' })),
    undefined,
    /sent decision \d+ where \d+ is the next one/,
  ],
];

test('a server that acknowledges too early, a gateway that does not send again, a decision made twice', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'duoveil-test-'));
  const doubles = new Map(BROKEN.map(([{ seed }, double]) => [seed, double]));
  // The same operations where nothing is wrong: what is noticed is not the fault.
  const good = [listWith(104, fault({})), listWith(105, { kind: 'kill' })];
  const { failures } = await runBatch(
    {
      seed: 1,
      lists: [...good, ...BROKEN.map(([list]) => list)],
      engine: testEngine(),
      gateways: await GatewayCertificates.create(directory),
      readStore,
      doublesOf: ({ seed }) => doubles.get(seed),
    },
    new FaultCounts(),
  );
  await rm(directory, { recursive: true });
  const said = new Map(failures.map(({ list, why }) => [list, why]));
  expect([...said.keys()].sort()).toEqual(BROKEN.map(([{ seed }]) => seed));
  for (const [{ seed }, , pattern] of BROKEN) expect(said.get(seed)).toMatch(pattern);
});

describe('what is kept and told', () => {
  const { patient } = planList(106);
  const expected = expectedResults(patient);
  const kept: KeptDecision[] = expected
    .filter((row) => !('skipped' in row))
    .map((row, i) => ({
      sequence: i + 1,
      outcome:
        'outlier' in row
          ? {
              kind: 'scored',
              outlier: row.outlier,
              statistic: { kind: 'level', level: row.statistic },
            }
          : { kind: 'learning' },
    }));
  const last = kept.at(-1) ?? never();

  test.each<[string, readonly KeptDecision[], string | RegExp | undefined]>([
    ['as it should be', kept, undefined],
    ['with a decision twice', [...kept, last], /decisions .* (\d+) \1$/],
    ['with one lost', kept.slice(0, -1), /decisions on \d+ samples/],
    ['with a wrong one', [...kept.slice(0, -1), wrong(last)], /for sample \d+, which is/],
    ['with none', [], /has 0 decisions/],
  ])('a store %s', (_, decisions, pattern) => {
    const difference = differenceInStore(expected, decisions);
    if (pattern === undefined) expect(difference).toBeUndefined();
    else expect(difference).toMatch(pattern);
  });

  test('a row that is told twice, left out, or not as before', () => {
    const [first = never(), second = never()] = expected;
    for (const rows of [[first, first], [second], [{ ...first, index: 1 }]]) {
      const told = new ToldRows(expected);
      for (const row of rows) told.add(row);
      expect(told.wrong).toMatch(/the gateway was told .* where .* comes/);
    }
    const told = new ToldRows(expected);
    told.add(first);
    told.begin();
    for (const row of expected) told.add(row);
    expect(told).toMatchObject({ wrong: undefined, count: expected.length });
  });
});

function wrong(decision: KeptDecision): KeptDecision {
  return { ...decision, outcome: { kind: 'unscorable' } };
}

function never(): never {
  throw new Error('it is there');
}
