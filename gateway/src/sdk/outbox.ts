/** Samples on their way, for as long as the gateway is open: each encrypted, spooled, and sent in order. */
import { quantiseRow } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { systemRandom } from '@duoveil/common/random';
import { abortReason, Bell, metrics } from '@duoveil/common/runtime';

import { ClockWatch } from '../clock-watch.js';
import { GapWatch } from '../gap-watch.js';
import { beginLiveSeries } from '../live-series.js';
import type { Party } from '../party.js';
import { SampleEncoder } from '../sample.js';
import type { Spool } from '../spool.js';
import type { GatewayState } from '../state.js';
import { runUplink } from '../uplink.js';

/** A reading of every channel that is monitored. */
export interface VitalSigns {
  /** By the channels' names, in the channels' units: `{ HR: 72, SpO2: 97 }`. Others are ignored. */
  readonly values: Readonly<Record<string, number>>;
  /** When it was measured; later than that of the sample before. Both may be left out. */
  readonly measuredAt?: Date | undefined;
}

/** See the file's comment. */
export class Outbox {
  readonly #party: Party;
  readonly #state: GatewayState;
  readonly #spool: Spool;
  readonly #encoder: SampleEncoder;
  /** Aborted where sending has failed for good, or the gateway is closed. */
  readonly #life = new AbortController();
  readonly #uplink: Promise<void>;
  readonly #bell = new Bell();
  #hasOpened = false;
  readonly #unobserve: () => void;
  readonly #clocks: ClockWatch;
  readonly #gaps: GapWatch;
  /** Samples are dealt with one after another. */
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Begins to send what waits in the spool.
   * @throws INPUT_INVALID where the series was begun with a recording; STORAGE_FULL, STORAGE_FAILED
   */
  constructor(party: Party, state: GatewayState, spool: Spool) {
    beginLiveSeries(state, spool);
    this.#party = party;
    this.#state = state;
    this.#spool = spool;
    this.#encoder = SampleEncoder.of(state, party.engine, systemRandom);
    this.#unobserve = metrics.spool.observe((report) => {
      report(spool.size);
    });
    this.#clocks = new ClockWatch(party.logger);
    this.#gaps = new GapWatch(party.logger);
    this.#uplink = this.#send();
  }

  /** Puts a sample behind the last one; resolves with its sequence number when it is on disk. */
  put(sample: VitalSigns): Promise<number> {
    const put = this.#last.then(() => this.#put(sample));
    this.#last = put.catch(() => undefined);
    return put;
  }

  /** Waits until everything that was put is safe at the service provider. */
  delivered(): Promise<void> {
    return this.#spool.untilEmpty(this.#life.signal);
  }

  /** Stops; what waits in the spool is sent the next time. */
  async close(): Promise<void> {
    this.#life.abort(duoveilError('NOT_READY', 'the gateway was closed'));
    await Promise.allSettled([this.#uplink, this.#last]);
    this.#unobserve();
    this.#clocks.close();
    this.#spool.close();
  }

  async #send(): Promise<void> {
    const { patient, parameters } = this.#state;
    const series = { patient, parametersDigest: parameters.digest, spool: this.#spool };
    const onOpened = (): void => {
      this.#hasOpened = true;
      this.#bell.ring();
    };
    const onServerTime = this.#clocks.serverTime.bind(this.#clocks);
    const options = { ...this.#party, ...series, random: systemRandom, onOpened, onServerTime };
    try {
      await runUplink(options, this.#life.signal);
    } catch (error) {
      this.#life.abort(error);
    }
  }

  async #put(sample: VitalSigns): Promise<number> {
    const { signal } = this.#life;
    if (signal.aborted) throw abortReason(signal);
    const values = this.#quantised(sample);
    const measuredAt = this.#timeOf(sample);
    // A spool that was never used does not know where the series stands.
    if (this.#spool.last === 0) await this.#bell.until(() => this.#hasOpened, signal);
    const sequence = this.#spool.last + 1;
    await this.#spool.put(await this.#encoder.encode([{ sequence, values, measuredAt }]), signal);
    if (measuredAt !== undefined) {
      this.#clocks.reading(measuredAt);
      this.#gaps.reading(measuredAt);
    }
    metrics.rows.add(1, { 'duoveil.outcome': 'sent' });
    return sequence;
  }

  #quantised({ values }: VitalSigns): readonly bigint[] {
    const cells = Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, String(value)]),
    );
    const quantised = quantiseRow(this.#state.schema, cells);
    if ('complete' in quantised) return quantised.complete;
    metrics.rows.add(1, { 'duoveil.outcome': 'skipped' });
    throw refused(quantised.skipped);
  }

  #timeOf({ measuredAt }: VitalSigns): number | undefined {
    const time = measuredAt?.getTime();
    if (time === undefined) return undefined;
    if (!Number.isFinite(time) || time < 0) throw refused('measuredAt is no time');
    const { lastMeasuredAt } = this.#spool;
    if (lastMeasuredAt === undefined || time > lastMeasuredAt) return time;
    const last = new Date(lastMeasuredAt).toISOString();
    throw refused(`measuredAt must be later than that of the sample before, ${last}`);
  }
}

function refused(why: string): Error {
  return duoveilError('INPUT_INVALID', `the sample is not sent: ${why}`, { source: 'send' });
}
