/** What each role of the packed suite holds while it plays. */
import type { KeyedBcp } from '../../bcp/scheme.js';
import type { PackingPlan } from '../../encoding/packing-plan.js';
import type { AdditiveKey, CrtOpening } from '../../paillier/index.js';

/** The service provider: the patient's public key, the CSP's additive key, and a key of its own. */
export interface ServiceProviderRole {
  readonly plan: PackingPlan;
  /** The patient's. */
  readonly patient: KeyedBcp;
  /** Encrypts to the CSP: modulus and generator of the public parameters. */
  readonly csp: AdditiveKey;
  /** Encrypts to the service provider itself, and opens that. */
  readonly own: { readonly key: AdditiveKey; readonly opening: CrtOpening };
}

/** The crypto service provider: its own additive key, opened by the factors of `N`. */
export interface CryptoServiceProviderRole {
  readonly plan: PackingPlan;
  readonly own: { readonly key: AdditiveKey; readonly opening: CrtOpening };
}

/** The service provider's key as the CSP uses it. */
export interface ServiceProviderKey {
  readonly key: AdditiveKey;
  /** Encryptions of zero under a generator of the CSP's own choosing. */
  readonly zeros: AdditiveKey;
}
