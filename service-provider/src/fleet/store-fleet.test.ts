/** What operators see and do, on both databases, and at two processes on one of them. */
import { Bcp } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import { parsePatientId, silentLogger, systemSleep } from '@duoveil/common/runtime';
import type { Clock, PatientId } from '@duoveil/common/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { databasePerTest, DATABASES } from '../../../harness/test/support/databases.js';
import type { Alarm, AlarmId } from '../alarms/alarm.js';
import { alarmPolicy } from '../alarms/policy.js';
import { engine, LEASE_MS, PATIENT, STORE_KEY, testParameters, testPatient } from '../fixture.js';
import { Monitors } from '../monitor/monitors.js';
import type { PatientSuite, Score } from '../monitor/suite.js';
import { StoreSeal } from '../store/seal.js';
import { storeOver } from '../store/store.js';
import { FleetView } from './fleet-view.js';
import type { FleetChange } from './fleet.js';
import { StoreFleet } from './store-fleet.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const OTHER = parsePatientId('patient-2', 'patient');
const seal = new StoreSeal(STORE_KEY, systemRandom);
const never = new AbortController().signal;

/** A level for each sample, as the test says; the baseline is of four samples. */
class SaidLevels implements PatientSuite {
  readonly ciphertextsPerSample = 2;
  static readonly said = new Map<number, number>();

  train(): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array(1));
  }

  score(_: unknown, { sequence }: { readonly sequence: number }): Promise<Score> {
    return Promise.resolve({ kind: 'level', level: SaidLevels.said.get(sequence) ?? 0 });
  }

  sums(): Promise<never> {
    return Promise.reject(new Error('not here'));
  }
}

for (const { name, available, start } of DATABASES) {
  describe.skipIf(!available)(`a fleet on ${name}`, () => {
    const database = databasePerTest(start);
    let ends: (() => Promise<void>)[];
    let nowMs: number;
    beforeEach(() => {
      ends = [];
      nowMs = 1_767_225_600_000;
      SaidLevels.said.clear();
    });
    afterEach(async () => {
      for (const end of ends) await end();
    });

    const clock: Clock = { now: () => new Date(nowMs), monotonicMs: () => nowMs };
    const at = (seconds: number): Date => new Date(1_767_225_600_000 + seconds * 1000);

    /** A service provider without its servers. */
    async function process() {
      const store = await storeOver(database(), parameters, seal, LEASE_MS);
      const view = new FleetView(store, () => clock.now());
      const told = new Map<PatientId, number>();
      const decided = view.decided.bind(view);
      view.decided = (id, point) => {
        decided(id, point);
        told.set(id, point.sequence);
      };
      const stop = new AbortController();
      const monitors = new Monitors({
        store,
        alarms: alarmPolicy({ levels: [{ level: 1, count: 2, of: 3 }] }),
        observer: view,
        suiteOf: () => new SaidLevels(),
        clock,
        // Time is what the test says: looked at often, it does not pass.
        sleep: (_, signal) => systemSleep(20, signal),
        logger: silentLogger(),
        leaseMs: LEASE_MS,
        stop: stop.signal,
      });
      ends.push(async () => {
        stop.abort();
        await monitors.stopped();
      });
      return { store, monitors, told, fleet: new StoreFleet({ store, view, monitors, clock }) };
    }
    type Process = Awaited<ReturnType<typeof process>>;

    /** When this resolves, the sample is decided on, and the view has been told. */
    async function send(
      { store, monitors, told }: Process,
      sequence: number,
      id: PatientId = PATIENT,
    ): Promise<void> {
      const { lease, watched, alarms } = await monitors.own(id, never);
      const now = clock.now();
      await store.samples.append(lease, { sequence, ciphertexts: [] }, Buffer.alloc(32), now, now);
      alarms.seen(now);
      watched.arrivals.ring();
      for (;;) {
        const heard = watched.progress.count;
        if ((told.get(id) ?? 0) >= sequence) return;
        await watched.progress.next(heard);
      }
    }

    /** Reads changes one after another. */
    function changesOf({ fleet }: Process) {
      const stop = new AbortController();
      const changes = fleet.changes(stop.signal)[Symbol.asyncIterator]();
      ends.unshift(() => {
        stop.abort();
        return Promise.resolve();
      });
      return async (wanted: (change: FleetChange) => boolean): Promise<FleetChange> => {
        for (;;) {
          const { value, done } = (await changes.next()) as IteratorResult<FleetChange, undefined>;
          if (done === true) throw new Error('no change');
          if (wanted(value)) return value;
        }
      };
    }

    async function begin(): Promise<Process> {
      const one = await process();
      await one.store.patients.keep(patient, at(0));
      await one.store.patients.keep({ ...patient, id: OTHER }, at(0));
      await one.monitors.start();
      return one;
    }

    async function raise(one: Process): Promise<void> {
      for (const sequence of [1, 2, 3, 4, 5]) await send(one, sequence);
      SaidLevels.said.set(6, 1).set(7, 2);
      nowMs += 1000;
      await send(one, 6);
      await send(one, 7);
    }
    const ALARM = `${PATIENT}:1` as AlarmId;

    it('shows patients, their levels, baselines and alarms', async () => {
      const one = await begin();
      expect(await one.fleet.patients()).toMatchObject([
        { patient: PATIENT, state: 'waiting', recent: [], lastSeen: undefined, pending: 0 },
        { patient: OTHER, state: 'waiting' },
      ]);
      await send(one, 1);
      expect((await one.fleet.patients())[0]).toMatchObject({ state: 'learning' });
      for (const sequence of [2, 3, 4, 5]) await send(one, sequence);
      expect((await one.fleet.patients())[0]).toMatchObject({ state: 'monitoring', alarms: [] });
      SaidLevels.said.set(6, 1).set(7, 2);
      nowMs += 1000;
      await send(one, 6);
      await send(one, 7);
      const summary = {
        ...{ patient: PATIENT, state: 'monitoring', lastSeen: at(1), highestLevel: 1 },
        recent: [
          ...[1, 2, 3, 4].map((sequence) => ({ sequence, at: at(0), level: 'learning' })),
          { sequence: 5, at: at(0), level: 0 },
          { sequence: 6, at: at(1), level: 1 },
          { sequence: 7, at: at(1), level: 2 },
        ],
        alarms: [
          {
            ...{ id: ALARM, sequence: 7, raisedAt: at(1), clearedAt: undefined },
            cause: { kind: 'level', rule: { level: 1, count: 2, of: 3 } },
          },
        ],
      };
      const detail = await one.fleet.patient(PATIENT);
      expect(detail).toMatchObject({
        ...summary,
        ...{ channels: ['HR', 'SpO2'], window: 4, baseline: 'fixed', enrolledAt: at(0) },
        baselines: [{ model: 1, throughSequence: 4, reason: 'first', trainedAt: at(0) }],
      });
      expect(detail.history).toEqual(detail.alarms);
      // The same to a process that has it all from the store.
      expect((await (await process()).fleet.patients())[0]).toMatchObject(summary);
      expect(await one.fleet.timeline(PATIENT, 6, 1)).toEqual(summary.recent.slice(5, 6));
    });

    it('has alarms acknowledged, all of them or none', async () => {
      const one = await begin();
      await raise(one);
      const unknown = `${PATIENT}:2` as AlarmId;
      for (const id of [unknown, 'nobody:1', 'x', `${PATIENT}:1x`] as AlarmId[]) {
        await expect(one.fleet.acknowledge([ALARM, id], 'alice')).rejects.toMatchObject({
          code: 'ALARM_UNKNOWN',
        });
      }
      expect(await one.fleet.alarms({ acknowledged: false }, 10)).toHaveLength(1);
      const act = { by: 'alice', at: at(1) };
      expect(await one.fleet.acknowledge([ALARM], 'alice')).toMatchObject([{ acknowledged: act }]);
      nowMs += 5000;
      expect(await one.fleet.acknowledge([ALARM], 'bob')).toMatchObject([{ acknowledged: act }]);
      const [alarm] = await one.fleet.alarms(
        { active: true, acknowledged: true, kind: 'level' },
        9,
      );
      expect(alarm).toMatchObject({ id: ALARM, acknowledged: act });
      expect(await one.fleet.alarms({ kind: 'gap' }, 10)).toEqual([]);
      expect(await one.fleet.alarms({ patient: OTHER }, 10)).toEqual([]);
      // What is decided next does not undo it.
      await send(one, 8);
      await send(one, 9);
      expect((await one.fleet.patient(PATIENT)).history).toMatchObject([
        { acknowledged: act, clearedAt: at(6) },
      ]);
      expect((await one.fleet.patient(PATIENT)).alarms).toEqual([]);
    });

    it('tells of changes as they happen, and a slow listener of the last state only', async () => {
      const one = await begin();
      const [next, slow] = [changesOf(one), changesOf(one)];
      await raise(one);
      const raisedNow = await next(({ changed }) => changed.length > 0);
      expect(raisedNow.changed).toMatchObject([{ id: ALARM, clearedAt: undefined }]);
      await one.fleet.acknowledge([ALARM], 'alice');
      expect((await next(({ changed }) => changed.length > 0)).changed).toMatchObject([
        { id: ALARM, acknowledged: { by: 'alice' } },
      ]);
      for (let sequence = 8; sequence < 70; sequence += 1) await send(one, sequence);
      const told = await slow(() => true);
      expect(told.summary.recent.at(-1)?.sequence).toBe(69);
      expect(told.summary.recent).toHaveLength(60);
      expect(told.changed).toMatchObject([
        { id: ALARM, acknowledged: { by: 'alice' }, clearedAt: at(1) },
      ]);
      await send(one, 1, OTHER);
      expect((await slow(() => true)).summary.patient).toBe(OTHER);
    });

    it('tells of a baseline as soon as it is learnt', async () => {
      const one = await begin();
      const next = changesOf(one);
      for (const sequence of [1, 2, 3]) await send(one, sequence);
      expect((await one.fleet.patients())[0]).toMatchObject({ model: 0 });
      await send(one, 4);
      // No later sample is needed for that.
      const { summary } = await next((change) => change.summary.model === 1);
      expect(summary.recent.at(-1)?.sequence).toBe(4);
      await one.fleet.relearn(PATIENT, 'alice');
      for (const sequence of [5, 6, 7, 8]) await send(one, sequence);
      await next((change) => change.summary.model === 2);
      expect((await one.fleet.patient(PATIENT)).baselines).toHaveLength(2);
      // A process that has it all from the store says the same.
      expect((await (await process()).fleet.patients())[0]).toMatchObject({ model: 2 });
    });

    it('raises an alarm of a silent device, escalates it, and clears it', async () => {
      const one = await begin();
      const next = changesOf(one);
      const alarmed = () => next(({ changed }) => changed.length > 0);
      await send(one, 1);
      nowMs += 60_000;
      expect(await one.fleet.alarms({}, 10)).toEqual([]);
      nowMs += 1;
      const { summary, changed } = await alarmed();
      expect(changed).toMatchObject([{ id: ALARM, cause: { kind: 'silence', since: at(0) } }]);
      expect(summary.state).toBe('silent');
      nowMs += 300_000;
      expect((await alarmed()).changed).toMatchObject([{ id: ALARM, escalatedAt: at(360.001) }]);
      await send(one, 2);
      const clears = ({ id, clearedAt }: Alarm): boolean => id === ALARM && clearedAt !== undefined;
      await next((change) => change.changed.some(clears));
      expect(await one.fleet.alarms({}, 10)).toMatchObject([
        { cause: { kind: 'gap', from: at(0), to: at(360.001) }, clearedAt: at(360.001) },
        { id: ALARM, clearedAt: at(360.001) },
      ]);
      expect((await one.fleet.patients())[0]).toMatchObject({ state: 'learning' });
    });

    it('keeps alarms quiet until a time', async () => {
      const one = await begin();
      const refused = async (until: Date, reason: string): Promise<void> => {
        await expect(one.fleet.suppress(PATIENT, until, reason, 'alice')).rejects.toMatchObject({
          code: 'MESSAGE_INVALID',
        });
      };
      await refused(at(0), 'late');
      await refused(at(86_401), 'too long');
      await refused(new Date(NaN), 'no date');
      await refused(at(60), '');
      await refused(at(60), 'x'.repeat(201));
      await refused(at(60), 'two\nlines');
      const suppression = await one.fleet.suppress(PATIENT, at(40), 'being washed', 'alice');
      expect(suppression).toEqual({
        by: 'alice',
        at: at(0),
        until: at(40),
        reason: 'being washed',
      });
      await raise(one);
      expect((await one.fleet.patients())[0]).toMatchObject({ alarms: [], suppression });
      expect(await one.fleet.alarms({}, 10)).toMatchObject([{ id: ALARM, suppressed: true }]);
      const next = changesOf(one);
      nowMs += 39_000;
      const heard = await next(({ changed }) => changed.length > 0);
      expect(heard.changed).toMatchObject([{ id: ALARM, suppressed: false }]);
      expect(heard.summary).toMatchObject({ alarms: [{ id: ALARM }], suppression: undefined });
      await one.fleet.suppress(PATIENT, at(90), 'again', 'alice');
      await one.fleet.unsuppress(PATIENT, 'bob');
      expect((await one.fleet.patient(PATIENT)).suppression).toBeUndefined();
    });

    it('has a baseline learnt anew, at once', async () => {
      const one = await begin();
      await raise(one);
      await one.fleet.relearn(PATIENT, 'alice');
      for (const sequence of [8, 9, 10, 11, 12]) await send(one, sequence);
      const detail = await one.fleet.patient(PATIENT);
      expect(detail.recent.map(({ level }) => level).slice(7)).toEqual([
        ...['learning', 'learning', 'learning', 'learning', 0],
      ]);
      expect(detail.alarms).toMatchObject([{ id: ALARM, clearedAt: at(1) }]);
      expect(detail.baselines.map(({ reason, by }) => ({ reason, by }))).toEqual([
        { reason: 'first', by: undefined },
        { reason: 'operator', by: 'alice' },
      ]);
    });

    it('refuses what is asked of nobody, and numbers out of range', async () => {
      const { fleet } = await begin();
      const nobody = parsePatientId('nobody', 'patient');
      for (const call of [
        () => fleet.patient(nobody),
        () => fleet.timeline(nobody, 1, 1),
        () => fleet.alarms({ patient: nobody }, 1),
        () => fleet.suppress(nobody, at(60), 'why', 'alice'),
        () => fleet.unsuppress(nobody, 'alice'),
        () => fleet.relearn(nobody, 'alice'),
      ]) {
        await expect(call()).rejects.toMatchObject({ code: 'PATIENT_NOT_ENROLLED' });
      }
      for (const call of [
        () => fleet.timeline(PATIENT, 0, 1),
        () => fleet.timeline(PATIENT, 1, 5_001),
        () => fleet.timeline(PATIENT, 1.5, 1),
        () => fleet.alarms({}, 0),
        () => fleet.relearn(PATIENT, ''),
        () => fleet.acknowledge([], 'x'.repeat(129)),
      ]) {
        await expect(call()).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
      }
    });

    it.skipIf(name === 'SQLite')(
      'sees and does the same at a process that watches nobody',
      async () => {
        const one = await begin();
        await raise(one);
        const other = await process();
        const [here, there] = [changesOf(one), changesOf(other)];
        expect((await other.fleet.patients())[0]).toMatchObject({ alarms: [{ id: ALARM }] });
        await other.fleet.acknowledge([ALARM], 'bob');
        const seen = await here(({ changed }) => changed.length > 0);
        expect(seen.changed).toMatchObject([{ id: ALARM, acknowledged: { by: 'bob' } }]);
        await other.fleet.relearn(PATIENT, 'bob');
        await vi.waitUntil(async () => {
          const { book } = await one.store.books.read(PATIENT);
          return book.relearning?.after !== undefined;
        });
        await send(one, 8);
        const after = await there(({ summary }) => summary.recent.at(-1)?.sequence === 8);
        expect(after.summary.recent.at(-1)?.level).toBe('learning');
        expect(after.summary.pending).toBeUndefined();
        const [alarm] = await other.fleet.alarms({}, 1);
        expect(alarm).toMatchObject({ acknowledged: { by: 'bob' }, clearedAt: at(1) });
      },
    );
  });
}
