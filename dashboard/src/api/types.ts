/** What the operators' HTTP API says: its own types, which are made from the schemas that it checks by. */
import type { components } from '@duoveil/service-provider/api';

type Schemas = components['schemas'];

/** What has come in is not written to. */
type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;

/** Who is signed in. `csrfToken` goes into the header of every call that changes something. */
export type Session = Frozen<Schemas['Session']>;

/** What an operator may do; each role may do what those before it may. */
export type Role = Session['role'];

/** Ways to sign in that the server offers. */
export interface SignInOptions {
  readonly token: boolean;
  readonly oidc: { readonly name: string } | null;
}

/** One sample: its number from 1, epoch milliseconds, and its level, {@link LEARNING} or {@link UNSCORABLE}. */
export type LevelPoint = Frozen<Schemas['LevelPoint']>;

/** In place of a level: the sample is one that a baseline is learnt from. */
export const LEARNING = -1;

/** In place of a level: the ciphertext held no sample. */
export const UNSCORABLE = -2;

/** One alarm of one patient. What does not apply is absent. */
export type Alarm = Frozen<Schemas['Alarm']>;

/** What an alarm is about. */
export type AlarmKind = Alarm['kind'];

/** One patient among all. */
export type PatientSummary = Frozen<Schemas['PatientSummary']>;

/** One patient as a page of its own. */
export type PatientDetail = Frozen<Schemas['PatientDetail']>;

/** A baseline of a patient. */
export type BaselineNotice = Frozen<Schemas['Baseline']>;

/** Something of a patient has changed. */
export type FleetChange = Frozen<Schemas['FleetChange']>;

/** Both servers. */
export type SystemState = Frozen<Schemas['System']>;

/** An error as RFC 9457 has it, with a stable code of ours. */
export type Problem = Frozen<Schemas['Problem']>;

/** Which alarms are asked for; whatever is absent does not restrict. */
export interface AlarmFilter {
  readonly patient?: string | undefined;
  readonly active?: boolean | undefined;
  readonly acknowledged?: boolean | undefined;
  readonly kind?: AlarmKind | undefined;
}
