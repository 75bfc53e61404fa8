/**
 * What happens in the fault simulation, drawn from seeds: to one patient's gateway and its messages
 * (a list of operations each), and to the two servers and the calls between them (one list a batch).
 */
import { seededPrng, type Prng } from '../simulation/prng.js';
import { planPatient, type PlannedPatient } from './planned-patient.js';

/** What is done to one message. */
export interface MessageFault {
  readonly method: 'GetParameters' | 'Enrol' | 'Ingest' | 'Watch';
  readonly direction: 'request' | 'response';
  /**
   * `drop`: it is lost, and the connection with it. `silence`: it and all that follow are lost, and
   * the connection breaks later. `delay`: it comes later. `duplicate`: it comes twice.
   */
  readonly does: 'drop' | 'silence' | 'delay' | 'duplicate';
  /** Messages of this kind that pass before. */
  readonly after: number;
  /** How long, where it takes time. */
  readonly ms: number;
}

/** What happens to one patient's gateway. */
export type GatewayOperation =
  /** So many rows more are there to be sent. */
  | { readonly kind: 'send'; readonly rows: number }
  /** Goes on when there is a decision on every row that is there. */
  | { readonly kind: 'wait' }
  /** The next such message meets with a fault. */
  | { readonly kind: 'fault'; readonly fault: MessageFault }
  /** The gateway is ended without a warning, and another one begins on what is on its disk. */
  | { readonly kind: 'kill' }
  /**
   * The patient moves to the next generation of keys, at another SP. The first try gives out after so
   * many draws of random bytes.
   */
  | { readonly kind: 'move'; readonly draws: number };

/** One patient's part of the simulation. Everything follows from the seed. */
export interface OperationList {
  readonly seed: number;
  readonly patient: PlannedPatient;
  /** Is the gateway a process of its own? Else it is a part of this one, which is much quicker. */
  readonly ownProcess: boolean;
  readonly operations: readonly GatewayOperation[];
}

/** Of so many gateways, one is a process of its own. */
const PROCESSES = 50;

/** Draws a list. */
export function planList(seed: number): OperationList {
  const prng = seededPrng(seed, 1);
  const patient = planPatient(prng, seed);
  const ownProcess = prng.integer(1, PROCESSES) === 1;
  const operations: GatewayOperation[] = [...planEnrolment(prng)];
  let left = patient.rows.length;
  while (left > 0) {
    const rows = Math.min(left, prng.integer(1, 5));
    left -= rows;
    const strikes = prng.integer(0, 2);
    for (let i = 0; i < strikes; i += 1) operations.push(strike(prng, ownProcess));
    operations.push({ kind: 'send', rows });
    if (prng.uniform() < 0.3) operations.push({ kind: 'wait' });
  }
  return { seed, patient, ownProcess, operations: withMove(seed, ownProcess, operations) };
}

/** One patient in so many moves, once rows were sent; a process is told where to go when it is started. */
const MOVES = 7;

function withMove(
  seed: number,
  ownProcess: boolean,
  operations: readonly GatewayOperation[],
): readonly GatewayOperation[] {
  const prng = seededPrng(seed, 4);
  if (ownProcess || prng.integer(1, MOVES) > 1) return operations;
  const first = operations.findIndex(({ kind }) => kind === 'send');
  const place = prng.integer(first + 1, operations.length);
  return operations.toSpliced(place, 0, { kind: 'move', draws: prng.integer(0, 60) });
}

/** Faults that the enrolment meets with are there before it begins. */
function planEnrolment(prng: Prng): GatewayOperation[] {
  if (prng.uniform() > 0.25) return [];
  const method = oneOf(prng, ['GetParameters', 'Enrol', 'Enrol'] as const);
  const direction = oneOf(prng, ['request', 'response'] as const);
  const does = oneOf(prng, ['drop', 'delay', 'duplicate'] as const);
  return [{ kind: 'fault', fault: { method, direction, does, after: 0, ms: prng.integer(5, 60) } }];
}

function strike(prng: Prng, ownProcess: boolean): GatewayOperation {
  // A process takes a second to begin.
  if (prng.uniform() < (ownProcess ? 0.4 : 0.25)) return { kind: 'kill' };
  const method = prng.uniform() < 0.7 ? 'Ingest' : 'Watch';
  const direction = method === 'Watch' ? 'response' : oneOf(prng, ['request', 'response'] as const);
  const does = oneOf(
    prng,
    // TCP does not repeat a message; that samples and their acknowledgements bear it is a promise of
    // their own, which decisions do not make.
    method === 'Watch'
      ? (['drop', 'silence', 'delay'] as const)
      : (['drop', 'drop', 'silence', 'delay', 'duplicate'] as const),
  );
  const ms = does === 'silence' ? prng.integer(50, 400) : prng.integer(5, 120);
  return { kind: 'fault', fault: { method, direction, does, after: prng.integer(0, 3), ms } };
}

/** What happens to a server. */
export type ServerOperation =
  /** Ended without a warning, and started again; at the next call of a method, where one is named. */
  | { readonly kind: 'kill'; readonly party: Server; readonly at: CspMethod | undefined }
  /** Asked to stop, and started again. */
  | { readonly kind: 'restart'; readonly party: Server }
  /** Held, and let go on. */
  | { readonly kind: 'stall'; readonly party: Server; readonly ms: number }
  /** Its files may grow by so much and no further, for a while. */
  | { readonly kind: 'fill'; readonly party: Server; readonly bytes: number; readonly ms: number }
  /** The SP is held until another one has taken its patients over, and let go on. */
  | { readonly kind: 'outlast'; readonly ms: number }
  /** All connections to the database are cut. */
  | { readonly kind: 'cut' }
  /** The database is away for a while. */
  | { readonly kind: 'away'; readonly ms: number }
  /** The CSP draws another generation of keys. */
  | { readonly kind: 'rotate' };

/**
 * One of the servers; `replica` is the second SP, where there are two, and `successor` the one of the next
 * generation of keys, once it is there.
 */
export type Server = 'csp' | 'sp' | 'replica' | 'successor';

/** How long a patient stays with an SP that is gone, where there are several, in milliseconds. */
export const LEASE_MS = 1_000;

/** What kinds of operation there are. */
export type ServerOperationKind = ServerOperation['kind'];

/** Calls during which somebody is killed. */
const CSP_METHODS = [
  ...['RegisterKey', 'Subtract', 'Multiply', 'InvertMatrix', 'Open'],
  ...['RegisterProviderKey', 'OfferTransfers', 'ChooseTransfers', 'LoadModel'],
  ...['ShareGram', 'InvertGram', 'KeepCoefficients', 'Score', 'Compare'],
] as const;

type CspMethod = (typeof CSP_METHODS)[number];

/** An operation, and when it happens: after this share of the batch's rows, 0 to 1. */
export interface TimedServerOperation {
  readonly after: number;
  readonly operation: ServerOperation;
}

/**
 * Draws what happens to the servers during a batch.
 * @param available kinds that this deployment has a means for; others are left out
 */
export function planServers(
  seed: number,
  count: number,
  available: ReadonlySet<ServerOperationKind>,
): TimedServerOperation[] {
  const prng = seededPrng(seed, 2);
  const planned: TimedServerOperation[] = [];
  const replicated = available.has('outlast');
  while (planned.length < count) {
    const after = prng.uniform();
    const operation = serverOperation(prng, replicated);
    if (available.has(operation.kind)) planned.push({ after, operation });
  }
  return planned.sort((a, b) => a.after - b.after);
}

function serverOperation(prng: Prng, replicated: boolean): ServerOperation {
  const providers = replicated
    ? (['sp', 'replica', 'successor'] as const)
    : (['sp', 'sp', 'successor'] as const);
  const party = oneOf(prng, ['csp', oneOf(prng, providers)] as const);
  const at = prng.uniform() < 0.6 ? oneOf(prng, CSP_METHODS) : undefined;
  const ms = prng.integer(50, 600);
  const bytes = prng.integer(0, 30_000);
  const mostly = ['kill', 'kill', 'restart', 'stall', 'stall', 'fill', 'fill'] as const;
  const seldom = ['outlast', 'outlast', 'cut', 'cut', 'away', 'rotate'] as const;
  switch (oneOf(prng, [...mostly, ...seldom] as const)) {
    case 'kill':
      return { kind: 'kill', party, at };
    case 'restart':
      return { kind: 'restart', party };
    case 'stall':
      return { kind: 'stall', party, ms };
    case 'fill':
      // SPs that share a database have no files.
      return { kind: 'fill', party: replicated ? 'csp' : party, bytes, ms };
    case 'outlast':
      return { kind: 'outlast', ms: LEASE_MS + 2 * ms };
    case 'cut':
      return { kind: 'cut' };
    case 'away':
      return { kind: 'away', ms };
    case 'rotate':
      return { kind: 'rotate' };
  }
}

/** What is done to a call from the SP to the CSP; `pass`: nothing. */
export interface CallFault {
  readonly does: 'pass' | 'drop-request' | 'drop-response' | 'delay' | 'duplicate';
  readonly ms: number;
  /** Of a call that is made twice, which answer counts. */
  readonly second: boolean;
}

/** One call in so many meets with a fault. */
const CALLS = 40;

/** Draws what is done to each call from the SP to the CSP, in the order of the calls. */
export function callFaults(seed: number): () => CallFault {
  const prng = seededPrng(seed, 3);
  return () => {
    const spared = prng.integer(1, CALLS) > 1;
    const does = oneOf(prng, ['drop-request', 'drop-response', 'delay', 'duplicate'] as const);
    const ms = prng.integer(1, 200);
    const second = prng.uniform() < 0.5;
    return { does: spared ? 'pass' : does, ms, second };
  };
}

function oneOf<const T>(prng: Prng, values: readonly [T, ...T[]]): T {
  return values[prng.integer(0, values.length - 1)] ?? values[0];
}
