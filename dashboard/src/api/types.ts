/** What the operators' HTTP API says, as far as the dashboard uses it. Times are ISO 8601 strings. */

/** What an operator may do; each role may do what those before it may. */
export type Role = 'viewer' | 'operator' | 'admin';

/** Who is signed in. */
export interface Session {
  readonly name: string;
  readonly role: Role;
  /** Goes into the header of every call that changes something. */
  readonly csrfToken: string;
  readonly expiresAt: string;
}

/** Ways to sign in that the server offers. */
export interface SignInOptions {
  readonly token: boolean;
  readonly oidc: { readonly name: string } | null;
}

/** One sample: its number from 1, epoch milliseconds, and its level, {@link LEARNING} or {@link UNSCORABLE}. */
export type LevelPoint = readonly [sequence: number, atMs: number, level: number];

/** In place of a level: the sample is one that a baseline is learnt from. */
export const LEARNING = -1;

/** In place of a level: the ciphertext held no sample. */
export const UNSCORABLE = -2;

/** An alarm is raised when at least `count` of the last `of` samples have `level` or more. */
export interface LevelRule {
  readonly level: number;
  readonly count: number;
  readonly of: number;
}

/** What an alarm is about. */
export type AlarmKind = 'level' | 'gap' | 'silence';

/** One alarm of one patient. What does not apply is absent. */
export interface Alarm {
  readonly id: string;
  readonly patient: string;
  readonly kind: AlarmKind;
  /** Of a level alarm. */
  readonly rule?: LevelRule | undefined;
  /** Of a gap: between these nothing was measured. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  /** Of a silence: when the last sample came in. */
  readonly since?: string | undefined;
  /** After which sample it was raised; 0 before the first. */
  readonly sequence: number;
  readonly raisedAt: string;
  readonly clearedAt?: string | undefined;
  readonly acknowledged?: { readonly by: string; readonly at: string } | undefined;
  readonly escalatedAt?: string | undefined;
  readonly suppressed: boolean;
}

/** A patient's alarms are kept quiet for a time. */
export interface Suppression {
  readonly by: string;
  readonly at: string;
  readonly until: string;
  readonly reason: string;
}

/** One patient among all. */
export interface PatientSummary {
  /** The pseudonym: nobody here knows a name. */
  readonly patient: string;
  /** The last samples, at most 60, in order. */
  readonly recent: readonly LevelPoint[];
  readonly lastSeen?: string | undefined;
  readonly state: 'waiting' | 'learning' | 'monitoring' | 'silent';
  readonly highestLevel: number;
  /** Active or unacknowledged, and not suppressed; the last one first. */
  readonly alarms: readonly Alarm[];
  readonly suppression?: Suppression | undefined;
  readonly pending?: number | undefined;
}

/** A baseline of a patient. */
export interface BaselineNotice {
  readonly model: number;
  readonly throughSequence: number;
  readonly trainedAt: string;
  readonly trainMs: number;
  readonly reason: 'first' | 'rolling' | 'policy' | 'operator';
  readonly by?: string | undefined;
}

/** One patient as a page of its own. */
export interface PatientDetail extends PatientSummary {
  readonly channels: readonly string[];
  readonly window: number;
  readonly baseline: 'fixed' | 'rolling';
  readonly enrolledAt: string;
  readonly baselines: readonly BaselineNotice[];
  /** All alarms that are kept, the last one first. */
  readonly history: readonly Alarm[];
}

/** Something of a patient has changed. */
export interface FleetChange {
  readonly summary: PatientSummary;
  /** Alarms that were raised, cleared, acknowledged or escalated by it. */
  readonly changed: readonly Alarm[];
}

/** Which alarms are asked for; whatever is absent does not restrict. */
export interface AlarmFilter {
  readonly patient?: string | undefined;
  readonly active?: boolean | undefined;
  readonly acknowledged?: boolean | undefined;
  readonly kind?: AlarmKind | undefined;
}

/** An error as RFC 9457 has it, with a stable code of ours. */
export interface Problem {
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly code: string;
}
