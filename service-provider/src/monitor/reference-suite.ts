import { KeyedBcp, type Bcp } from '@duoveil/common/bcp';
import { distanceBounds, reconstruct, scaleOf } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { score, train, type ReferenceModel } from '@duoveil/common/protocols/reference';
import { integerFromBytes, type RandomSource } from '@duoveil/common/random';
import type { Connection } from '@duoveil/common/runtime';

import { BlindedArithmeticClient } from '../csp/blinded-arithmetic.js';
import {
  packCiphertexts,
  unpackCiphertexts,
  type Patient,
  type StoredModel,
  type StoredSample,
} from '../store/index.js';
import { RemoteArithmetic } from './remote-arithmetic.js';
import type { PatientSuite, Score } from './suite.js';

/** The paper's protocol: one ciphertext a channel. */
export class ReferenceSuite implements PatientSuite {
  readonly ciphertextsPerSample: number;
  readonly #bcp: Bcp;
  readonly #patient: Patient;
  readonly #arithmetic: RemoteArithmetic;

  constructor(
    bcp: Bcp,
    patient: Patient,
    csp: Connection,
    random: RandomSource,
    stop: AbortSignal,
  ) {
    this.ciphertextsPerSample = patient.schema.channels.length;
    this.#bcp = bcp;
    this.#patient = patient;
    const key = new KeyedBcp(bcp, integerFromBytes(patient.key.publicKey));
    this.#arithmetic = new RemoteArithmetic(
      { key },
      new BlindedArithmeticClient(csp, bcp, patient),
      random,
      stop,
    );
  }

  async train(window: readonly StoredSample[]): Promise<Uint8Array> {
    const { mean, precision } = await train(
      this.#arithmetic,
      this.#bcp,
      window.map(({ ciphertexts }) => ciphertexts),
      this.#patient.schema.channels.map((channel) => scaleOf(channel).F),
    );
    return packCiphertexts([...mean, ...precision.flat()], this.#bcp.parameters);
  }

  async score(model: StoredModel, sample: StoredSample): Promise<Score | undefined> {
    const { schema, policy } = this.#patient;
    const residue = await score(
      this.#arithmetic,
      this.#bcp,
      this.#modelOf(model),
      sample.ciphertexts,
    );
    const { numerator, denominator } = distanceBounds(schema, policy.window);
    const { modulus } = this.#bcp.parameters;
    const distance = reconstruct(residue, modulus, numerator, denominator);
    // A square modulo N may be a negative number: no sample of integers is so far, or so near.
    if (distance === undefined || distance.numerator < 0n) return undefined;
    return { kind: 'distance', distance };
  }

  sums(): Promise<never> {
    return Promise.reject(
      duoveilError(
        'OUTPUT_NOT_ALLOWED',
        'the reference suite keeps no sums: use the packed suite',
        {
          output: 'statistics',
        },
      ),
    );
  }

  #modelOf({ content }: StoredModel): ReferenceModel {
    const ciphertexts = unpackCiphertexts(content, this.#bcp.parameters);
    const p = this.ciphertextsPerSample;
    const mean = ciphertexts.slice(0, p);
    return {
      mean,
      precision: mean.map((_, i) => ciphertexts.slice((i + 1) * p, (i + 2) * p)),
    };
  }
}
