/**
 * An alarm as a FHIR R4 `Flag` (https://hl7.org/fhir/R4/flag.html). The patient is named by the
 * pseudonym; of levels and of what was measured there is nothing but the rule that held.
 */
import type { Alarm } from '../alarms/alarm.js';
import { isActive } from '../alarms/book.js';
import { stateOf } from '../alarms/telling.js';

/** What the names of this are: not addresses. */
const SYSTEMS = {
  alarm: 'urn:duoveil:alarm',
  patient: 'urn:duoveil:patient',
  kind: 'urn:duoveil:alarm-kind',
  state: 'urn:duoveil:alarm-state',
} as const;

const category = {
  coding: [
    {
      system: 'http://terminology.hl7.org/CodeSystem/flag-category',
      code: 'clinical',
      display: 'Clinical',
    },
  ],
};

/** See the file's comment. */
export function flagOf(alarm: Alarm): Readonly<Record<string, unknown>> {
  const { id, patient, cause, raisedAt, clearedAt } = alarm;
  return {
    resourceType: 'Flag',
    extension: [{ url: SYSTEMS.state, valueCode: stateOf(alarm) }],
    identifier: [{ system: SYSTEMS.alarm, value: id }],
    status: isActive(alarm) ? 'active' : 'inactive',
    category: [category],
    code: { coding: [{ system: SYSTEMS.kind, code: cause.kind }], text: textOf(alarm) },
    subject: { type: 'Patient', identifier: { system: SYSTEMS.patient, value: patient } },
    period: {
      start: raisedAt.toISOString(),
      ...(clearedAt && { end: clearedAt.toISOString() }),
    },
  };
}

function textOf({ cause }: Alarm): string {
  switch (cause.kind) {
    case 'level': {
      const { level, count, of } = cause.rule;
      return `of the last ${String(of)} samples ${String(count)} or more reached level ${String(level)}`;
    }
    case 'gap':
      return 'the device measured nothing for a time';
    case 'silence':
      return 'no sample has come in for a time';
  }
}
