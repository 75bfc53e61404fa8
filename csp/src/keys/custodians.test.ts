import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { encodeParameters } from '@duoveil/common/bcp';
import { createPortableEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { implement, unary, type Clock, type Service } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { ParametersServiceService, type GetParametersResponse } from '@duoveil/proto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { contextForTests } from '../../../harness/src/local/loopback.js';
import { setUpForTests } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { AuditLog, verifyAuditLog } from '../audit/audit-log.js';
import { byGeneration } from '../handlers/by-generation.js';
import { Attempts } from './attempts.js';
import { Custodians } from './custodians.js';
import { Custody } from './custody.js';
import type { HandedShare } from './shares.js';
import { ServedGenerations } from './unsealed.js';
import { Vault } from './vault.js';

const engine = createPortableEngine({ threads: 0 });
const clock: Clock = { now: () => new Date(Date.UTC(2026, 2, 3)), monotonicMs: () => 0 };
const environment = { engine, random: systemRandom, now: () => clock.now() };
const master = (seed: string) => setUpForTests(512, 'residue', engine, new SeededRandom(seed));
const first = await master('first');
const second = await master('second');

const key = { kind: 'key', key: new Secret(Buffer.alloc(32, 7)) } as const;
const wrongKey = { kind: 'key', key: new Secret(Buffer.alloc(32, 8)) } as const;
const ALICE = 'spiffe://test.internal/custodian/alice';
const BOB = 'spiffe://test.internal/custodian/bob';
const failed = expect.objectContaining({ code: 'UNSEALING_FAILED' }) as unknown;

let directory: string;
let shares: HandedShare[];
let vault: Vault<ServedGenerations>;
let custodians: Custodians<ServedGenerations>;
let parameters: Service;
let audit: AuditLog;
let wiped: string[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-custodians-'));
  shares = [];
  wiped = [];
  const request = { secrets: [key], sharing: { threshold: 2, count: 3 } };
  await Custody.create(directory, first, request, environment, (handed) => {
    shares = [...handed];
    return Promise.resolve();
  });
  vault = new Vault();
  audit = await AuditLog.open(join(directory, 'audit.log'), clock);
  custodians = new Custodians({
    ...{ vault, audit, graceMs: 0 },
    custody: await Custody.read(directory, environment),
    attempts: new Attempts(clock),
    unsealed: (custodyKey, generations) =>
      ServedGenerations.create(custodyKey, generations, ({ generation }) =>
        Promise.resolve({
          services: [
            implement(ParametersServiceService, {
              getParameters: unary({ roles: ['sp'] }, () =>
                Promise.resolve({ parameters: encodeParameters(generation.parameters) }),
              ),
            }),
          ],
          wipe: () => wiped.push(generation.parameters.digest),
        }),
      ),
    draw: () => Promise.resolve(second),
  });
  parameters = byGeneration(ParametersServiceService, { roles: ['sp'] }, vault);
});

afterEach(async () => {
  await audit.close();
  await rm(directory, { recursive: true });
});

/** The modulus that a call gets, for the generation that it names. */
async function modulusServed(parametersDigest?: string): Promise<string | undefined> {
  const method = parameters.methods['getParameters'];
  if (method?.kind !== 'unary') throw new Error('it is unary');
  const context = { ...contextForTests(), parametersDigest };
  const response = (await method.handle({}, context)) as GetParametersResponse;
  return response.parameters?.modulus.toString('hex');
}

const modulusOf = ({ parameters: { modulus } }: typeof first): string => modulus.toString(16);

function share(index: number) {
  const found = shares.find((one) => one.index === index);
  if (found === undefined) throw new Error('there is no such share');
  // A copy: what was given is overwritten.
  return { ...found, value: new Secret(Uint8Array.from(found.value.reveal())) };
}
const offer = (index: number) => ({ kind: 'share', share: share(index) }) as const;

async function audited(): Promise<string[]> {
  const lines = (await readFile(join(directory, 'audit.log'), 'utf8')).trim().split('\n');
  return lines.map((line) => {
    const { event, method, by, code, detail } = JSON.parse(line) as Record<string, string>;
    return [event, method, by?.split('/').at(-1), code ?? detail].filter(Boolean).join(' ');
  });
}

describe('a CSP that was just started', () => {
  it('is sealed, and refuses every call of a protocol', async () => {
    expect(custodians.status()).toMatchObject({ isOpen: false, given: [] });
    await expect(modulusServed()).rejects.toMatchObject({ code: 'CSP_SEALED' });
    await expect(custodians.rotate(ALICE)).rejects.toMatchObject({ code: 'CSP_SEALED' });
    await expect(custodians.retire(1, ALICE)).rejects.toMatchObject({ code: 'CSP_SEALED' });
  });

  it('opens with enough shares, each counted once', async () => {
    const { set = '' } = shares[0] ?? {};
    expect(await custodians.unseal(offer(3), ALICE)).toMatchObject({
      isOpen: false,
      given: [{ set, index: 3 }],
    });
    expect(await custodians.unseal(offer(3), BOB)).toMatchObject({ isOpen: false });
    expect(await custodians.unseal(offer(1), BOB)).toMatchObject({ isOpen: true, given: [] });
    expect(await modulusServed()).toBe(modulusOf(first));
    expect(await audited()).toEqual([
      `custody Unseal alice share 3 of ${set}`,
      `custody Unseal bob share 3 of ${set}`,
      `custody Unseal bob share 1 of ${set}`,
      'custody Unsealed bob',
    ]);
  });

  it('opens with a key', async () => {
    expect(await custodians.unseal(key, 'start')).toMatchObject({ isOpen: true });
    expect(await modulusServed()).toBe(modulusOf(first));
  });

  it('gives one answer to whatever does not open, slows guessing down, and tells of it', async () => {
    const changed = share(2);
    changed.value.reveal().fill(9);
    const passphrase = { kind: 'passphrase', passphrase: new Secret('guess') } as const;
    const offers = [
      wrongKey,
      passphrase,
      { kind: 'share', share: changed } as const,
      { kind: 'share', share: { ...share(1), index: 2 } } as const,
      { kind: 'share', share: { ...share(1), set: '0'.repeat(16) } } as const,
    ];
    const messages = new Set<string>();
    for (const wrong of offers) {
      const error: unknown = await custodians
        .unseal(wrong, ALICE)
        .catch((thrown: unknown) => thrown);
      expect(error).toEqual(failed);
      messages.add(error instanceof Error ? error.message : '');
    }
    expect(messages.size).toBe(1);
    const slowed = { code: 'OVERLOADED', details: { retryAfterMs: 60_000 } };
    await expect(custodians.unseal(key, ALICE)).rejects.toMatchObject(slowed);
    expect(await audited()).toEqual(offers.map(() => 'refused Unseal alice UNSEALING_FAILED'));
    // A share that was right before, and others' attempts, are not lost by it.
    await custodians.unseal(offer(1), BOB);
    expect(await custodians.unseal(offer(2), BOB)).toMatchObject({ isOpen: true });
  });
});

describe('an unsealed CSP', () => {
  it('is sealed by a custodian: its keys are wiped, and shares given before do not count', async () => {
    await custodians.unseal(offer(1), ALICE);
    await custodians.seal(ALICE);
    expect(await custodians.unseal(offer(2), BOB)).toMatchObject({ isOpen: false });
    await custodians.unseal(offer(1), ALICE);
    const custodyKey = await vault.use((unsealed) => unsealed.custodyKey.reveal());
    expect(custodyKey.some((byte) => byte !== 0)).toBe(true);
    expect(await custodians.seal(BOB)).toMatchObject({ isOpen: false });
    expect(custodyKey.every((byte) => byte === 0)).toBe(true);
    expect(wiped).toEqual([first.parameters.digest]);
    await expect(modulusServed()).rejects.toMatchObject({ code: 'CSP_SEALED' });
    expect(await custodians.unseal(key, ALICE)).toMatchObject({ isOpen: true });
    expect(await modulusServed()).toBe(modulusOf(first));
  });

  it('does not look at what is offered', async () => {
    await custodians.unseal(key, ALICE);
    expect(await custodians.unseal(wrongKey, BOB)).toMatchObject({ isOpen: true });
  });

  it('has written down that there is a generation before there is one', async () => {
    await custodians.unseal(key, ALICE);
    vi.spyOn(Custody.prototype, 'add').mockRejectedValueOnce(new Error('the power is off'));
    await expect(custodians.rotate(ALICE)).rejects.toThrow('the power is off');
    expect((await audited()).at(-1)).toBe(
      `custody Rotate alice generation 2, ${second.parameters.digest}`,
    );
    await custodians.rotate(ALICE);
    expect(await modulusServed(second.parameters.digest)).toBe(modulusOf(second));
  });

  it('serves a further generation beside the first, until that is retired', async () => {
    await custodians.unseal(key, ALICE);
    const { generations } = await custodians.rotate(ALICE);
    expect(generations.map(({ parameters: { digest } }) => digest)).toEqual([
      first.parameters.digest,
      second.parameters.digest,
    ]);
    expect(await modulusServed()).toBe(modulusOf(first));
    expect(await modulusServed(first.parameters.digest)).toBe(modulusOf(first));
    expect(await modulusServed(second.parameters.digest)).toBe(modulusOf(second));
    const mismatch = { code: 'PARAMETERS_MISMATCH', details: { expected: 'ab'.repeat(32) } };
    await expect(modulusServed('ab'.repeat(32))).rejects.toMatchObject(mismatch);

    await expect(custodians.retire(2, BOB)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    await custodians.retire(1, BOB);
    expect(wiped).toEqual([first.parameters.digest]);
    await expect(modulusServed(first.parameters.digest)).rejects.toMatchObject({
      code: 'PARAMETERS_MISMATCH',
    });
    expect(await modulusServed()).toBe(modulusOf(second));

    // Also after the next start.
    await custodians.seal(ALICE);
    await custodians.unseal(key, ALICE);
    expect(await modulusServed()).toBe(modulusOf(second));
    expect((await audited()).slice(2)).toEqual([
      `custody Rotate alice generation 2, ${second.parameters.digest}`,
      'custody Retire bob generation 1',
      'custody Seal alice',
      'custody Unseal alice key',
      'custody Unsealed alice',
    ]);
    expect((await verifyAuditLog(join(directory, 'audit.log'))).sequence).toBe(7);
  });

  it('has a bounded number of generations in service', async () => {
    await custodians.unseal(key, ALICE);
    for (let i = 1; i < 8; i += 1) await custodians.rotate(ALICE);
    const refused = { code: 'MESSAGE_INVALID', details: { field: 'generation' } };
    await expect(custodians.rotate(ALICE)).rejects.toMatchObject(refused);
    await custodians.retire(1, ALICE);
    expect((await custodians.rotate(ALICE)).generations).toHaveLength(9);
  });

  it('does one act at a time', async () => {
    await custodians.unseal(key, ALICE);
    const acts = [custodians.rotate(ALICE), custodians.seal(BOB), custodians.unseal(key, BOB)];
    expect((await Promise.all(acts)).map(({ isOpen }) => isOpen)).toEqual([true, false, true]);
    expect((await custodians.unseal(key, BOB)).generations).toHaveLength(2);
  });
});
