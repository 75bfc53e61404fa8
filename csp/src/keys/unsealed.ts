import { duoveilError } from '@duoveil/common/errors';
import type { Service } from '@duoveil/common/runtime';

import type { Unsealed } from './custodians.js';
import type { OpenGeneration } from './custody.js';
import type { CustodyKey } from './locks.js';

/** What serves the calls of one generation. */
export interface ServedGeneration {
  readonly services: readonly Service[];
  /** Overwrite the keys that can be overwritten. */
  wipe(): void;
}

/** The generations that an unsealed CSP serves, and its custody key. */
export class ServedGenerations implements Unsealed {
  readonly custodyKey: CustodyKey;
  readonly #serve: (opened: OpenGeneration) => Promise<ServedGeneration>;
  /** By the digest of their parameters, the oldest first. */
  readonly #served = new Map<string, ServedGeneration & { readonly number: number }>();

  private constructor(
    custodyKey: CustodyKey,
    serve: (opened: OpenGeneration) => Promise<ServedGeneration>,
  ) {
    this.custodyKey = custodyKey;
    this.#serve = serve;
  }

  /** @param serve makes what serves a generation */
  static async create(
    custodyKey: CustodyKey,
    generations: readonly OpenGeneration[],
    serve: (opened: OpenGeneration) => Promise<ServedGeneration>,
  ): Promise<ServedGenerations> {
    const unsealed = new ServedGenerations(custodyKey, serve);
    for (const opened of generations) await unsealed.add(opened);
    return unsealed;
  }

  async add(opened: OpenGeneration): Promise<void> {
    const { number, parameters } = opened.generation;
    this.#served.set(parameters.digest, { number, ...(await this.#serve(opened)) });
  }

  remove(number: number): void {
    for (const [digest, served] of this.#served) {
      if (served.number !== number) continue;
      this.#served.delete(digest);
      served.wipe();
    }
  }

  /**
   * The generation with these parameters; where none are named, the oldest.
   * @throws DuoveilError `PARAMETERS_MISMATCH`
   */
  find(digest: string | undefined): ServedGeneration {
    const [oldest] = this.#served.values();
    const found = digest === undefined ? oldest : this.#served.get(digest);
    if (found === undefined) {
      const expected = digest ?? 'any';
      throw duoveilError(
        'PARAMETERS_MISMATCH',
        `no generation of keys here has the parameters ${expected}: it is retired, or another CSP's`,
        { expected },
      );
    }
    return found;
  }

  wipe(): void {
    this.custodyKey.forget();
    for (const served of this.#served.values()) served.wipe();
    this.#served.clear();
  }
}
