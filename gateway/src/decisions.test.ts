import { isDuoveilError } from '@duoveil/common/errors';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { watchDecisions } from './decisions.js';
import type { DecisionEvent } from './decisions.js';
import { decideByNumber, FAST, PATIENT, TestBed } from './fixture.js';

let bed: TestBed;
const stop = new AbortController();
beforeEach(async () => {
  bed = await TestBed.create();
  await bed.sp.start();
});
afterEach(async () => {
  await bed.close();
});

function store(from: number, to: number): void {
  for (let sequence = from; sequence <= to; sequence += 1) {
    bed.sp.stored.set(sequence, Buffer.from('stored'));
  }
}

async function watch(from: number, output: 'distance' | 'level' = 'distance') {
  const connection = await bed.connect();
  return watchDecisions({
    ...FAST,
    connection,
    patient: PATIENT,
    output,
    from,
    signal: stop.signal,
  });
}

const short = (event: DecisionEvent): string =>
  event.kind === 'trained' ? `model ${event.model}` : String(event.sequence);

describe('watchDecisions', () => {
  it('tells each decision and training once, in order, over broken streams', async () => {
    store(1, 5);
    const seen: string[] = [];
    for await (const event of await watch(1)) {
      seen.push(short(event));
      if (seen.length === 6) {
        // At the boundary where the training would come again.
        await bed.sp.stop();
        store(6, 9);
        await bed.sp.start();
      }
      if (seen.length === 10) break;
    }
    expect(seen).toEqual(['1', '2', '3', '4', 'model 1', '5', '6', '7', '8', '9']);
  });

  it('does not repeat a training that came just before the stream broke', async () => {
    store(1, 4);
    const decisions = await watch(1);
    for (let i = 1; i <= 4; i += 1) await decisions.next();
    store(5, 5);
    expect(short((await decisions.next()).value)).toBe('model 1');
    await bed.sp.stop();
    await bed.sp.start();
    expect(short((await decisions.next()).value)).toBe('5');
    await decisions.return(undefined as never);
  });

  it('begins where it is told to', async () => {
    store(1, 8);
    const decisions = await watch(7);
    expect((await decisions.next()).value).toEqual({
      kind: 'decision',
      sequence: 7,
      outcome: {
        kind: 'scored',
        outlier: false,
        statistic: { kind: 'distance', squaredDistance: 7 / 8 },
        model: 1,
        latencyMs: 1.5,
      },
    });
    await decisions.return(undefined as never);
  });

  it.each([
    ['another statistic', 'level', decideByNumber(7)],
    ['no outcome', 'distance', undefined],
    ['a distance that is none', 'distance', distance(NaN)],
  ] as const)('refuses a decision with %s', async (_, output, outcome) => {
    store(7, 7);
    // The wire allows an outcome to be missing.
    bed.sp.decide = () => outcome as ReturnType<typeof decideByNumber>;
    const decisions = await watch(7, output);
    const error: unknown = await decisions.next().catch((thrown: unknown) => thrown);
    expect(isDuoveilError(error, 'PEER_MISBEHAVED')).toBe(true);
  });
});

function distance(value: number) {
  const statistic = { $case: 'squaredDistance', value } as const;
  return {
    $case: 'scored',
    value: { outlier: false, statistic, model: 1, latencyMs: 1 },
  } as const;
}
