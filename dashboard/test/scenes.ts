/** Fleets that tests and pictures begin with. */
import { calm, FakeFleet, RULES, rising } from './fake-fleet.js';

/** A ward in which a patient deteriorates, a device is silent, and the rest is calm. */
export function ward(now = Date.now()): FakeFleet {
  const fleet = new FakeFleet();
  const ago = (seconds: number): string => new Date(now - seconds * 1_000).toISOString();
  for (let bed = 1; bed <= 12; bed++) {
    const patient = `ward-a-${String(bed).padStart(2, '0')}`;
    const onset = bed === 7 ? 560 : bed === 3 ? 500 : Infinity;
    const levels = onset === Infinity ? calm(patient) : rising(patient, onset);
    const end = bed === 9 ? now - 130_000 : now;
    fleet.enrol(patient, bed === 11 ? 34 : bed === 12 ? 0 : 600 + bed * 7, end, levels);
  }
  fleet.raise('ward-a-07', { kind: 'level', rule: RULES[1], raisedAt: ago(41), sequence: 608 });
  fleet.raise('ward-a-07', { kind: 'level', rule: RULES[3], raisedAt: ago(12), sequence: 637 });
  const seen = fleet.raise('ward-a-03', {
    ...{ kind: 'level', rule: RULES[1], raisedAt: ago(92), sequence: 529 },
  });
  fleet.change(seen.id, { acknowledged: { by: 'k.lindqvist', at: ago(60) } });
  fleet.raise('ward-a-09', { kind: 'silence', since: ago(130), raisedAt: ago(70) });
  const old = fleet.raise('ward-a-07', {
    ...{ kind: 'gap', from: ago(460), to: ago(420), raisedAt: ago(420), sequence: 220 },
  });
  fleet.change(old.id, { clearedAt: ago(420), acknowledged: { by: 'k.lindqvist', at: ago(300) } });
  fleet.suppress('ward-a-05', {
    ...{ by: 'k.lindqvist', at: ago(300), reason: 'Physiotherapy' },
    until: new Date(now + 25 * 60_000).toISOString(),
  });
  return fleet;
}

/** Many patients: what one page has to hold. */
export function many(count: number, now = Date.now()): FakeFleet {
  const fleet = new FakeFleet();
  for (let i = 1; i <= count; i++) {
    const patient = `patient-${i}`;
    fleet.enrol(patient, 160, now, calm(patient));
  }
  return fleet;
}
