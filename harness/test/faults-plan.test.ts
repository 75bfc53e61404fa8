/** What is drawn from a seed: always the same, everything in turn, and nothing that cannot be. */
import { requireFits } from '@duoveil/common/encoding';
import { expect, test } from 'vitest';

import { expectedResults, planBatches, planList, planServers } from '../src/faults/index.js';
import { testParameters } from '../../service-provider/src/fixture.js';

const seeds = Array.from({ length: 1_000 }, (_, i) => i + 1);
const lists = seeds.map(planList);

test('a seed always draws the same', () => {
  expect(seeds.slice(0, 50).map(planList)).toEqual(lists.slice(0, 50));
  const all = new Set(['kill', 'restart', 'stall', 'fill'] as const);
  expect(planServers(7, 30, all)).toEqual(planServers(7, 30, all));
  expect(planServers(7, 30, all)).not.toEqual(planServers(8, 30, all));
});

test('every operation and every fault is drawn, every suite, output and baseline', () => {
  const seen = new Set<string>();
  for (const { operations, patient, ownProcess } of lists) {
    const { suite, output, baseline } = patient.policy;
    seen
      .add(suite)
      .add(`${suite} ${output}`)
      .add(baseline)
      .add(`process ${String(ownProcess)}`);
    for (const one of operations) {
      seen.add(one.kind);
      if (one.kind !== 'fault') continue;
      const { method, direction, does } = one.fault;
      seen.add(`${method} ${direction} ${does}`);
    }
  }
  const both = ['request', 'response'];
  const unary = ['drop', 'delay', 'duplicate'];
  const expected = [
    ...named(['GetParameters', 'Enrol'], both, unary),
    ...named(['Ingest'], both, [...unary, 'silence']),
    ...named(['Watch'], ['response'], ['drop', 'delay', 'silence']),
    ...[
      'send',
      'wait',
      'fault',
      'kill',
      'move',
      'process true',
      'process false',
      'fixed',
      'rolling',
    ],
    ...['packed', 'packed distance', 'packed level', 'reference', 'reference distance'],
  ];
  expect([...seen].sort()).toEqual(expected.sort());
  const servers = planServers(1, 1_000, new Set(['kill', 'restart', 'stall', 'fill', 'rotate']));
  const kinds = new Set(
    servers.map(({ operation }) =>
      'party' in operation ? `${operation.kind} ${operation.party}` : operation.kind,
    ),
  );
  // Four things that are done to each of three, and the rotation.
  expect(kinds.size).toBe(13);
  expect(servers.every(({ after }) => after >= 0 && after < 1)).toBe(true);
});

function named(methods: string[], directions: string[], faults: string[]): string[] {
  return methods.flatMap((method) =>
    directions.flatMap((direction) => faults.map((does) => `${method} ${direction} ${does}`)),
  );
}

test('what a deployment has no means for is left out', () => {
  const servers = planServers(1, 200, new Set(['stall']));
  expect(servers).toHaveLength(200);
  expect(new Set(servers.map(({ operation }) => operation.kind))).toEqual(new Set(['stall']));
});

test('every patient can be enrolled, learns, and has something to score', async () => {
  const parameters = await testParameters();
  for (const { patient, operations } of lists) {
    requireFits(patient.schema, patient.policy, parameters);
    const sent = operations.reduce((sum, one) => sum + (one.kind === 'send' ? one.rows : 0), 0);
    expect(sent).toBe(patient.rows.length);
    expect(expectedResults(patient).filter((row) => 'outlier' in row).length).toBeGreaterThan(2);
  }
});

test('batches have all lists, each once', () => {
  const planned = planBatches(5, 450).flatMap(({ lists: seedsOf }) => seedsOf);
  expect(planned).toEqual(Array.from({ length: 450 }, (_, i) => i + 5));
  expect(planBatches(5, 450).map(({ batch }) => batch)).toEqual([5, 205, 405]);
});
