/**
 * Custody of the master keys. On disk: `custody.json` with the locks, each of which holds the custody
 * key sealed, and a file for each generation of keys, sealed under the custody key. Nothing of it is a
 * key in the clear.
 */
import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import type { MasterKey } from '@duoveil/common/master';
import type { ModularEngine } from '@duoveil/common/modular';
import type { RandomSource } from '@duoveil/common/random';
import {
  readJsonFile,
  systemErrorCode,
  writeFileAtomic,
  type SealingSecret,
} from '@duoveil/common/runtime';
import { z } from 'zod';

import {
  generationFile,
  openGeneration,
  readGenerations,
  retired,
  sealGeneration,
  writeGeneration,
  writeNewGeneration,
  type Generation,
} from './generations.js';
import {
  lockOfShare,
  locksSchema,
  makeLocks,
  openWithSecret,
  openWithShares,
  type CustodyKey,
  type Lock,
  type LockRequest,
  type SharesLock,
} from './locks.js';
import type { HandedShare, Share } from './shares.js';

const custodySchema = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  locks: locksSchema,
});

/** Generations in service at once: each has tables of its own in memory. */
const MAX_IN_SERVICE = 8;

/** A generation and its master key. */
export interface OpenGeneration {
  readonly generation: Generation;
  readonly key: MasterKey;
}

function custodyFile(directory: string): string {
  return join(directory, 'custody.json');
}

/**
 * @throws DuoveilError `OPTION_INVALID` where the directory holds a master key already.
 */
export async function requireUnused(directory: string): Promise<void> {
  for (const file of [custodyFile(directory), generationFile(directory, 1)]) {
    if (!(await exists(file))) continue;
    throw duoveilError(
      'OPTION_INVALID',
      `--state: ${file} is there already: choose another directory`,
      { option: '--state' },
    );
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

async function writeCustody(directory: string, id: string, locks: readonly Lock[]): Promise<void> {
  const document: z.input<typeof custodySchema> = { version: 1, id, locks: [...locks] };
  await writeFileAtomic(custodyFile(directory), `${JSON.stringify(document, null, 2)}\n`);
}

/** What custody works with. */
export interface CustodyEnvironment {
  readonly engine: ModularEngine;
  readonly random: RandomSource;
  readonly now: () => Date;
}

/** The locks and the generations of a state directory. It holds no key itself. */
export class Custody {
  readonly id: string;
  readonly locks: readonly Lock[];
  readonly #directory: string;
  readonly #environment: CustodyEnvironment;
  #generations: readonly Generation[];

  private constructor(
    directory: string,
    { id, locks }: z.output<typeof custodySchema>,
    generations: readonly Generation[],
    environment: CustodyEnvironment,
  ) {
    this.id = id;
    this.locks = locks;
    this.#directory = directory;
    this.#environment = environment;
    this.#generations = generations;
  }

  /**
   * Begin a custody with a first generation.
   * @param handOut is given the custodians' shares before anything is written down: what it cannot
   * keep must not be needed
   */
  static async create(
    directory: string,
    first: MasterKey,
    request: LockRequest,
    environment: Omit<CustodyEnvironment, 'engine'>,
    handOut: (shares: readonly HandedShare[]) => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const { random, now } = environment;
    const id = Buffer.from(random.bytes(16)).toString('hex');
    const { key, locks, shares } = await makeLocks(id, request, random);
    try {
      await handOut(shares);
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await writeNewGeneration(directory, await sealGeneration(1, first, key, random, now()));
      await writeCustody(directory, id, locks);
    } finally {
      key.forget();
    }
  }

  /**
   * Read what a directory holds. Needs no secret.
   * @throws DuoveilError `CONFIG_INVALID`, `PARAMETERS_INVALID`
   */
  static async read(directory: string, environment: CustodyEnvironment): Promise<Custody> {
    const document = await readJsonFile(custodyFile(directory), custodySchema, '--state');
    const generations = await readGenerations(directory, environment.engine);
    if (!generations.some(({ retiredAt }) => retiredAt === undefined)) {
      throw duoveilError('CONFIG_INVALID', `--state: ${directory} holds no generation of keys`, {
        path: '--state',
      });
    }
    return new Custody(directory, document, generations, environment);
  }

  /** All generations, the oldest first, retired ones too. */
  get generations(): readonly Generation[] {
    return this.#generations;
  }

  /** The generation for new enrolments: the newest. */
  get newest(): Generation {
    const newest = this.#generations.at(-1);
    if (newest === undefined) throw new Error('a custody has a generation');
    return newest;
  }

  /** The custody key, where a lock is for this secret and opens; else undefined. */
  async unlock(secret: SealingSecret): Promise<CustodyKey | undefined> {
    return openWithSecret(this.id, this.locks, secret);
  }

  /** The lock that a share belongs to; undefined where it is no share of this custody. */
  lockOf(share: Share): SharesLock | undefined {
    return lockOfShare(this.locks, share);
  }

  /** The custody key from the shares of a lock; undefined where they do not open it. */
  async unlockWithShares(
    lock: SharesLock,
    shares: readonly Share[],
  ): Promise<CustodyKey | undefined> {
    return openWithShares(this.id, lock, shares);
  }

  /**
   * The master keys of all generations that are not retired, the oldest first, each checked.
   * @throws DuoveilError `UNSEALING_FAILED`, `PARAMETERS_INVALID`
   */
  async open(key: CustodyKey): Promise<OpenGeneration[]> {
    const opened: OpenGeneration[] = [];
    for (const generation of this.#generations) {
      if (generation.retiredAt !== undefined) continue;
      const master = await openGeneration(generation, key, this.#environment.engine);
      opened.push({ generation, key: master });
    }
    return opened;
  }

  /** @throws DuoveilError `MESSAGE_INVALID` where as many generations are in service as there may be */
  requireRoom(): void {
    const inService = this.#generations.filter(({ retiredAt }) => retiredAt === undefined);
    if (inService.length < MAX_IN_SERVICE) return;
    throw duoveilError(
      'MESSAGE_INVALID',
      `${String(MAX_IN_SERVICE)} generations are in service: retire one first`,
      { field: 'generation' },
    );
  }

  /**
   * Write a further generation down, under the same locks. It is the newest from now on.
   * @throws DuoveilError `STORAGE_FAILED` where somebody else has written one of that number; `STORAGE_FULL`
   */
  async add(master: MasterKey, key: CustodyKey): Promise<OpenGeneration> {
    const { random, now } = this.#environment;
    const number = this.newest.number + 1;
    const generation = await sealGeneration(number, master, key, random, now());
    await writeNewGeneration(this.#directory, generation);
    this.#generations = [...this.#generations, generation];
    return { generation, key: master };
  }

  /**
   * Delete a generation's master key from the directory.
   * @returns the generation; doing it again changes nothing
   * @throws DuoveilError `MESSAGE_INVALID` where there is none of this number, or it is the newest
   */
  async retire(number: number): Promise<Generation> {
    const generation = this.requireRetirable(number);
    if (generation.retiredAt !== undefined) return generation;
    const without = retired(generation, this.#environment.now());
    await writeGeneration(this.#directory, without);
    this.#generations = this.#generations.map((one) => (one === generation ? without : one));
    return without;
  }

  /**
   * Copy everything that is sealed to a replica's directory, which is made if it is not there.
   * @throws DuoveilError `OPTION_INVALID` where that directory holds another custody, or generations
   * that this one has not: a key that was retired there does not come back
   */
  async copyTo(directory: string): Promise<void> {
    if (await exists(custodyFile(directory))) {
      const there = await Custody.read(directory, this.#environment);
      this.#requireOlder(there, directory);
    }
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const generation of this.#generations) await writeGeneration(directory, generation);
    await writeCustody(directory, this.id, this.locks);
  }

  #requireOlder(there: Custody, directory: string): void {
    const refuse = (why: string): never => {
      throw duoveilError('OPTION_INVALID', `--to: ${directory} ${why}`, { option: '--to' });
    };
    if (there.id !== this.id) refuse('holds the keys of another custody');
    for (const { number, parameters, retiredAt } of there.generations) {
      const same = this.#generations.find((one) => one.number === number);
      if (same?.parameters.digest !== parameters.digest) {
        refuse(`has a generation ${String(number)} of its own: rotate one replica only`);
      }
      if (retiredAt !== undefined && same?.retiredAt === undefined) {
        refuse(`has retired generation ${String(number)}: retire it here as well`);
      }
    }
  }

  /** @throws DuoveilError as {@link retire} */
  requireRetirable(number: number): Generation {
    const generation = this.#generations.find((one) => one.number === number);
    if (generation === undefined || generation === this.newest) {
      const why =
        generation === undefined ? 'there is no such one' : 'it is the newest: rotate first';
      throw duoveilError('MESSAGE_INVALID', `generation ${String(number)}: ${why}`, {
        field: 'generation',
      });
    }
    return generation;
  }
}
