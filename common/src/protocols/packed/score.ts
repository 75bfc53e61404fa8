/**
 * Scoring in the packed suite: the leverage `h = θ₀ + ⟨θ, φ(x)⟩` of one sample in one round trip.
 *
 * | step | who | does | learns |
 * |---|---|---|---|
 * | 0 | SP | ahead of the sample: masks `σᵢ` and `μ`, the cross term `⟨θ̂, σ⟩ + μ`, rerandomised | nothing |
 * | 1 | SP | multiplies the sample's `B` in: masked features and, above them, the cross term | nothing |
 * | 2 | CSP | opens; its share is `a = θ̂₀ + ⟨θ̂, φ + σ⟩ - (⟨θ̂, σ⟩ + μ)`; answers, for SP alone, `⟨τ, φ + σ⟩ - a` | masked features |
 * | 3 | SP | opens the answer: `h = μ - answer + ⟨τ, σ⟩ - τ₀` modulo `P` | `h` |
 *
 * For level output the CSP answers `⟨τ, φ + σ⟩ + ν` instead, `ν` uniform over all but the top of the
 * plaintext space: what the service provider opens is uniform, whatever `τ` it sent. Both then hold
 * shares of `num`: `μ - answer + ⟨τ, σ⟩ - τ₀` and `a + ν`.
 *
 * All that a score costs after its sample has arrived is one multiplication, one round trip, the
 * CSP's opening and combination, and one opening at the service provider.
 */
import type { Ciphertext } from '../../bcp/ciphertext.js';
import { pack, unpack, type PackingPlan } from '../../encoding/packing-plan.js';
import { elementAt, inParts } from '../../lists.js';
import type { FixedProducts } from '../../modular/index.js';
import { hidingBits, type AdditiveCiphertext, type AdditiveKey } from '../../paillier/index.js';
import { uniformBelow, uniformBetween, uniformBits, type RandomSource } from '../../random.js';
import { hidingMultiple, innerProduct, modulo } from './roles.js';
import type { CryptoServiceProviderRole, ProviderKey, ServiceProviderRole } from './roles.js';
import type { CoefficientMasks, MaskedCoefficients } from './train.js';

/** A trained model at the service provider. */
export interface ProviderModel {
  /** `τ`. */
  readonly share: CoefficientMasks;
  /** `Enc(2^s·θ̂ᵢ)`, to the CSP. */
  readonly crossTerms: FixedProducts;
}

/** A trained model at the CSP. */
export interface CspModel {
  /** `θ̂`. */
  readonly share: MaskedCoefficients;
  /** `Enc(τᵢ)`, to the service provider. */
  readonly providerShare: FixedProducts;
}

/** Keep the bases of the cross terms for as long as the model lives. */
export function keepCrossTerms(
  { plan, csp }: ServiceProviderRole,
  crossTerms: readonly AdditiveCiphertext[],
): FixedProducts {
  return csp.ring.fixedProducts(crossTerms, plan.featureSlots.bits);
}

/**
 * Keep the bases of the service provider's share for as long as the model lives. For level output
 * their squares: whatever a dishonest service provider sent, those and their combinations are
 * `2N`-th powers but for the message, and {@link freshZero} hides all of it.
 */
export function keepProviderShare(
  plan: PackingPlan,
  { key }: ProviderKey,
  providerShare: readonly AdditiveCiphertext[],
): FixedProducts {
  const bases =
    plan.level === undefined
      ? providerShare
      : providerShare.map((element) => key.ring.multiply(element, element));
  return key.ring.fixedProducts(bases, plan.featureSlots.bits);
}

/**
 * An encryption of zero for distance output: a power of a generator that the owner of the key had no
 * part in, longer than |N| bits and so uniform modulo its order.
 * @param random derived from the request, so that the same request has the same answer
 */
export async function deriveZero(
  { zeros }: ProviderKey,
  random: RandomSource,
): Promise<AdditiveCiphertext> {
  return elementAt(await zeros.zeros(1, Infinity, random), 0);
}

/**
 * An encryption of zero for level output: a uniform `2N`-th power. It depends on nothing about the
 * group, not even on its order having no small factors, and can be drawn ahead.
 */
export async function freshZero(
  { key }: ProviderKey,
  random: RandomSource,
): Promise<AdditiveCiphertext> {
  const base = uniformBetween(1n, key.modulus - 1n, random);
  // The exponent is public; how long a power takes says nothing about its base.
  const [zero] = await key.ring.powers([{ base, exponent: 2n * key.modulus }], 'public');
  return zero as AdditiveCiphertext;
}

/**
 * Everything of one score that does not depend on the sample. Used for one sample and one request:
 * taking it a second time is a defect and throws.
 */
export class PreparedScore {
  #contents: PreparedContents | undefined;

  constructor(contents: PreparedContents) {
    this.#contents = contents;
  }

  take(): PreparedContents {
    const contents = this.#contents;
    if (contents === undefined) throw new Error('this preparation was used before');
    this.#contents = undefined;
    return contents;
  }
}

interface PreparedContents {
  /** `σ`, a feature each. */
  readonly featureMasks: readonly bigint[];
  /** `μ`. */
  readonly crossTermMask: bigint;
  /** To be multiplied with the sample's `B`, a plaintext each; what is more stands alone. */
  readonly factors: readonly AdditiveCiphertext[];
}

/** What the service provider remembers between step 1 and step 3. */
export type PendingScore = Pick<PreparedContents, 'featureMasks' | 'crossTermMask'>;

/** Step 0, SP: draw the masks and prepare the cross term. */
export async function prepareScore(
  { plan, csp }: ServiceProviderRole,
  { crossTerms }: ProviderModel,
  random: RandomSource,
): Promise<PreparedScore> {
  const { features, featureSlots, field, crossTerm, crossTermQuotientBits } = plan;
  const maskBits = featureSlots.bits - 1;
  const featureMasks = features.map(() => uniformBits(maskBits, random));
  const crossTermMask = uniformBelow(field.order, random);
  const added = crossTermMask + hidingMultiple(plan, crossTermQuotientBits, random);

  const count = Math.max(plan.plaintexts, crossTerm.plaintext + 1);
  const bits = hidingBits(csp.freshBits, maskBits, features.length);
  const [zeros, combined] = await Promise.all([
    csp.zeros(count, bits, random),
    crossTerms.products([featureMasks]),
  ]);
  const parts = inParts(featureMasks, featureSlots.perPlaintext);
  const factors = zeros.map((zero, i) => {
    const masked = csp.add(zero, pack(parts[i] ?? [], featureSlots.bits));
    if (i !== crossTerm.plaintext) return masked;
    const shifted = csp.add(masked, added << BigInt(crossTerm.shift));
    return csp.sum(shifted, elementAt(combined, 0) as AdditiveCiphertext);
  });
  return new PreparedScore({ featureMasks, crossTermMask, factors });
}

/** Step 1, SP: mask a sample. */
export function requestScore(
  { csp }: ServiceProviderRole,
  sample: readonly Ciphertext[],
  prepared: PreparedScore,
): { request: AdditiveCiphertext[]; pending: PendingScore } {
  const { factors, featureMasks, crossTermMask } = prepared.take();
  const request = factors.map((factor, i) => {
    const ciphertext = sample[i];
    return ciphertext === undefined
      ? factor
      : (csp.ring.multiply(ciphertext.b, factor) as AdditiveCiphertext);
  });
  return { request, pending: { featureMasks, crossTermMask } };
}

/**
 * Step 2, CSP: open, and answer to the service provider alone.
 * @returns the answer, and the CSP's share of `num` for level output; of `h` it is 0
 * @param random for distance output derived from the request under a key of the CSP's: the same
 * request has the same answer
 * @param prepared for level output, a {@link freshZero} drawn ahead; used once
 */
export async function answerScore(
  { plan, own }: CryptoServiceProviderRole,
  provider: ProviderKey,
  { share, providerShare }: CspModel,
  request: readonly AdditiveCiphertext[],
  random: RandomSource,
  prepared?: AdditiveCiphertext,
): Promise<{ answer: AdditiveCiphertext; share: bigint }> {
  const { field, answerBits, level } = plan;
  const { key } = provider;
  const [opened, zero] = await Promise.all([
    own.opening.open(request),
    prepared ?? (level === undefined ? deriveZero(provider, random) : freshZero(provider, random)),
  ]);
  const { maskedFeatures, crossTerm } = unpackRequest(plan, opened);

  const ownShare = share.constant + innerProduct(share.features, maskedFeatures) - crossTerm;
  const room = key.modulus - (1n << BigInt(answerBits));
  const noise =
    level === undefined
      ? modulo(-ownShare, field.order) + field.order * uniformBelow(room / field.order, random)
      : uniformBelow(room, random);

  const combined = elementAt(await providerShare.products([maskedFeatures]), 0);
  const answer = key.add(key.sum(combined as AdditiveCiphertext, zero), noise);
  return { answer, share: modulo(ownShare + noise, field.order) };
}

/** Step 3, SP: open the answer. The leverage modulo `P`, or for level output a share of `num`. */
export async function acceptScore(
  { plan, own }: ServiceProviderRole,
  { share }: ProviderModel,
  { featureMasks, crossTermMask }: PendingScore,
  answer: AdditiveCiphertext,
): Promise<bigint> {
  const [opened = 0n] = await own.opening.open([answer]);
  const masks = innerProduct(share.features, featureMasks);
  return modulo(crossTermMask - opened + masks - share.constant, plan.field.order);
}

function unpackRequest(
  { features, featureSlots, plaintexts, crossTerm }: PackingPlan,
  opened: readonly bigint[],
): { maskedFeatures: bigint[]; crossTerm: bigint } {
  const { bits, perPlaintext } = featureSlots;
  const maskedFeatures = opened
    .slice(0, plaintexts)
    .flatMap((plaintext, i) =>
      unpack(plaintext, bits, Math.min(perPlaintext, features.length - i * perPlaintext)),
    );
  return {
    maskedFeatures,
    crossTerm: (opened[crossTerm.plaintext] ?? 0n) >> BigInt(crossTerm.shift),
  };
}

/**
 * Encrypt the service provider's share to itself, for the CSP to compute with. For level output the
 * halves modulo `P`, of which the CSP takes the squares.
 */
export async function encryptProviderShare(
  key: AdditiveKey,
  { features }: CoefficientMasks,
  random: RandomSource,
  { field, level }: Pick<PackingPlan, 'field' | 'level'>,
): Promise<AdditiveCiphertext[]> {
  const half = (field.order + 1n) / 2n;
  const shares =
    level === undefined ? features : features.map((mask) => (mask * half) % field.order);
  return key.encrypt(shares, random);
}
