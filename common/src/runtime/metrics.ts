/**
 * Every instrument there is, by name, and what its measurements may be labelled with. No label names a
 * patient or a caller. Until {@link attachMetrics}, measurements go nowhere and cost next to nothing.
 *
 * Names follow the semantic conventions of OpenTelemetry where those have one.
 */
import type { Attributes, Meter } from '@opentelemetry/api';

/** What documents and backends want to know of an instrument. */
export interface InstrumentAbout<Label extends string = string> {
  /** OpenTelemetry's name; Prometheus writes underscores for dots, and `_total` after a counter's. */
  readonly name: string;
  /** As UCUM writes it. */
  readonly unit: string;
  readonly description: string;
  readonly labels: readonly Label[];
  /** Bounds of a histogram's buckets, in its unit. */
  readonly buckets?: readonly number[];
}

/** The values of an instrument's labels; none has to be there. */
export type Labels<Label extends string> = Readonly<
  Partial<Record<Label, string | number | boolean>>
>;

type Kind = 'counter' | 'histogram' | 'gauge';

/** Something that is counted or measured; `Label` are the labels that it may have. */
abstract class Instrument<Label extends string = string> {
  abstract readonly kind: Kind;
  readonly about: InstrumentAbout<Label>;

  constructor(about: InstrumentAbout<Label>) {
    this.about = about;
  }

  /** Measurements go to this meter from now on; with undefined, nowhere. */
  abstract attach(meter: Meter | undefined): void;
}

type Report = (value: number, attributes?: Attributes) => void;

/** How often something happened. */
class Counter<Label extends string> extends Instrument<Label> {
  readonly kind = 'counter';
  #report: Report | undefined;

  add(value: number, labels?: Labels<Label>): void {
    this.#report?.(value, labels);
  }

  attach(meter: Meter | undefined): void {
    const { name, unit, description } = this.about;
    const backend = meter?.createCounter(name, { unit, description });
    this.#report =
      backend &&
      ((value, labels) => {
        backend.add(value, labels);
      });
  }
}

/** How long something took, or how much it was. */
class Histogram<Label extends string> extends Instrument<Label> {
  readonly kind = 'histogram';
  readonly #watchers = new Set<(value: number) => void>();
  #report: Report | undefined;

  record(value: number, labels?: Labels<Label>): void {
    this.#report?.(value, labels);
    for (const watcher of this.#watchers) watcher(value);
  }

  /**
   * Has a function called with each value, whether or not there is a meter.
   * @returns how to end that
   */
  watch(watcher: (value: number) => void): () => void {
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  attach(meter: Meter | undefined): void {
    const { name, unit, description, buckets = durations } = this.about;
    const advice = { explicitBucketBoundaries: [...buckets] };
    const backend = meter?.createHistogram(name, { unit, description, advice });
    this.#report =
      backend &&
      ((value, labels) => {
        backend.record(value, labels);
      });
  }
}

/** What is the case now, or what something has added up to: asked for when somebody looks. */
class Observed<Label extends string> extends Instrument<Label> {
  readonly kind: 'gauge' | 'counter';
  readonly #sources = new Set<(report: (value: number, labels?: Labels<Label>) => void) => void>();

  constructor(kind: 'gauge' | 'counter', about: InstrumentAbout<Label>) {
    super(about);
    this.kind = kind;
  }

  /**
   * Has a function called whenever somebody looks, to report what is the case.
   * @returns how to end that
   */
  observe(source: (report: (value: number, labels?: Labels<Label>) => void) => void): () => void {
    this.#sources.add(source);
    return () => {
      this.#sources.delete(source);
    };
  }

  /** The sum of what is the case now, over all labels. */
  read(): number {
    let sum = 0;
    for (const source of this.#sources) {
      source((value) => {
        sum += value;
      });
    }
    return sum;
  }

  attach(meter: Meter | undefined): void {
    const { name, unit, description } = this.about;
    const options = { unit, description };
    const backend =
      this.kind === 'gauge'
        ? meter?.createObservableGauge(name, options)
        : meter?.createObservableCounter(name, options);
    backend?.addCallback((result) => {
      for (const source of this.#sources) {
        source((value, labels) => {
          result.observe(value, labels);
        });
      }
    });
  }
}

/** The semantic conventions' bounds for calls, in seconds. */
const durations = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

const call = ['rpc.system.name', 'rpc.method', 'rpc.response.status_code', 'error.type'] as const;

/** All instruments. */
export const metrics = {
  // Every party.
  serverCalls: new Histogram({
    name: 'rpc.server.call.duration',
    unit: 's',
    description: 'calls that were answered here',
    labels: call,
  }),
  clientCalls: new Histogram({
    name: 'rpc.client.call.duration',
    unit: 's',
    description: 'calls that were made from here',
    labels: [...call, 'server.address', 'server.port'],
  }),
  ready: new Observed('gauge', {
    name: 'duoveil.ready',
    unit: '',
    description: '1 where the server is ready, as health and readiness say; else 0',
    labels: [],
  }),
  certificateExpiry: new Observed('gauge', {
    name: 'duoveil.certificate.expiry',
    unit: 's',
    description: 'time that is left until it expires; below 0 once it has',
    labels: ['duoveil.certificate'],
  }),
  cpu: new Observed('counter', {
    name: 'process.cpu.time',
    unit: 's',
    description: 'CPU time that the process has used',
    labels: ['cpu.mode'],
  }),
  memory: new Observed('gauge', {
    name: 'process.memory.usage',
    unit: 'By',
    description: 'memory that the process occupies',
    labels: [],
  }),
  eventLoopDelay: new Observed('gauge', {
    name: 'nodejs.eventloop.delay.p99',
    unit: 's',
    description: 'delay of the event loop since somebody last looked: 99 of 100 were shorter',
    labels: [],
  }),
  // The service provider.
  patients: new Observed('gauge', {
    name: 'duoveil.patients',
    unit: '{patient}',
    description: 'patients who are watched',
    labels: [],
  }),
  samples: new Counter({
    name: 'duoveil.samples',
    unit: '{sample}',
    description: 'samples that were stored',
    labels: [],
  }),
  lateSamples: new Counter({
    name: 'duoveil.samples.late',
    unit: '{sample}',
    description: "samples that came in more than 10 s after the patient's one before",
    labels: [],
  }),
  pending: new Observed('gauge', {
    name: 'duoveil.samples.pending',
    unit: '{sample}',
    description: 'samples that are stored and wait for a decision',
    labels: [],
  }),
  lag: new Observed('gauge', {
    name: 'duoveil.lag',
    unit: 's',
    description: 'for how long the oldest of those has been waiting: how far behind real time',
    labels: [],
  }),
  decisions: new Counter({
    name: 'duoveil.decisions',
    unit: '{decision}',
    description: 'decisions, with what was decided',
    labels: ['duoveil.outcome', 'duoveil.level', 'duoveil.outlier'],
  }),
  decisionDelay: new Histogram({
    name: 'duoveil.decision.delay',
    unit: 's',
    description: 'from a sample coming in to its decision being stored',
    labels: [],
  }),
  scores: new Histogram({
    name: 'duoveil.score.duration',
    unit: 's',
    description: 'scores, with the CSP and all attempts',
    labels: [],
  }),
  trainings: new Histogram({
    name: 'duoveil.training.duration',
    unit: 's',
    description: 'trainings, with the CSP and all attempts',
    labels: [],
  }),
  stepFailures: new Counter({
    name: 'duoveil.step.failures',
    unit: '{failure}',
    description: 'trainings and decisions that failed and are done again',
    labels: ['error.type'],
  }),
  httpCalls: new Histogram({
    name: 'http.server.request.duration',
    unit: 's',
    description: "requests to the operators' HTTP API and the dashboard that were answered",
    labels: [
      'http.request.method',
      'url.scheme',
      'http.route',
      'http.response.status_code',
      'error.type',
    ],
  }),
  httpListeners: new Observed('gauge', {
    name: 'duoveil.http.listeners',
    unit: '{listener}',
    description: 'pages and programmes that are told of changes as they happen',
    labels: [],
  }),
  alarms: new Counter({
    name: 'duoveil.alarms',
    unit: '{alarm}',
    description: 'alarms that were raised, also those that nobody is told of',
    labels: ['duoveil.alarm.kind'],
  }),
  webhooks: new Counter({
    name: 'duoveil.webhook.calls',
    unit: '{call}',
    description: 'alarms that were told to the webhook, and attempts that failed',
    labels: ['error.type'],
  }),
  // Both servers.
  poolFill: new Histogram({
    name: 'duoveil.pool.fill',
    unit: '{item}',
    description: 'what is ready of the work done ahead, when some of it is taken; 0 is slower',
    labels: ['duoveil.pool'],
    buckets: [0, 1, 2, 4, 8, 16],
  }),
  // The crypto service provider.
  openings: new Counter({
    name: 'duoveil.openings',
    unit: '{value}',
    description: 'masked values that were opened with the master key',
    labels: ['duoveil.suite'],
  }),
  refusals: new Counter({
    name: 'duoveil.refusals',
    unit: '{refusal}',
    description: 'calls that the decryption discipline refused',
    labels: ['error.type'],
  }),
  // The gateway.
  rows: new Counter({
    name: 'duoveil.rows',
    unit: '{row}',
    description: 'rows of the source that were sent, or skipped because they are not complete',
    labels: ['duoveil.outcome'],
  }),
  spool: new Observed('gauge', {
    name: 'duoveil.spool',
    unit: '{sample}',
    description: 'encrypted samples that wait for their acknowledgement',
    labels: [],
  }),
  clockOffset: new Observed('gauge', {
    name: 'duoveil.clock.offset',
    unit: 's',
    description: 'how far another clock is ahead of the one here, as far as that is known',
    labels: ['duoveil.clock'],
  }),
} as const;

/** Sends all measurements to a meter from now on; with undefined, nowhere. */
export function attachMetrics(meter: Meter | undefined): void {
  for (const instrument of Object.values<Instrument>(metrics)) instrument.attach(meter);
}
