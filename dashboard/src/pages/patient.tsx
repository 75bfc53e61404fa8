import { useState } from 'preact/hooks';

import type { Alarm, PatientDetail } from '../api/types.js';
import { AlarmTable } from '../parts/alarm-table.js';
import { Baselines } from '../parts/baselines.js';
import { Facts } from '../parts/facts.js';
import { LevelNow } from '../parts/fleet-row.js';
import { PageHeading } from '../parts/page-heading.js';
import { PatientActions } from '../parts/patient-actions.js';
import { Time } from '../parts/time.js';
import { TimelineSection } from '../parts/timeline-section.js';
import { FLEET } from '../routes.js';
import { useStore, useServices } from '../services.js';
import { usePatient } from '../state/use-patient.js';
import { STATES } from '../state/wording.js';

/** Alarms that are listed until all are asked for. */
const SHOWN_ALARMS = 20;

/** One patient: levels over time, alarms, baselines, and what can be done. */
export function PatientPage({ patient }: { patient: string }) {
  const { detail, problem, reload } = usePatient(patient);
  const summary = useStore(useServices().fleet.view)?.get(patient) ?? detail;
  return (
    <>
      <p class="crumbs">
        <a href={FLEET}>Fleet</a> <span aria-hidden="true">›</span> Patient
      </p>
      <PageHeading title={patient}>
        {summary !== undefined && (
          <p class="patient-now">
            <LevelNow summary={summary} />
            <span class="state">{STATES[summary.state]}</span>
            {summary.lastSeen !== undefined && (
              <span>
                last seen <Time at={summary.lastSeen} />
              </span>
            )}
          </p>
        )}
      </PageHeading>
      {problem !== '' && (
        <p class="problem" role="alert">
          The patient could not be read: {problem}
        </p>
      )}
      {detail === undefined || summary === undefined ? (
        problem === '' && <p class="empty">Loading the patient …</p>
      ) : (
        <>
          <PatientActions summary={summary} reload={reload} />
          <TimelineSection detail={detail} />
          <History alarms={detail.history} highestLevel={detail.highestLevel} />
          <Baselines baselines={detail.baselines} />
          <Enrolment detail={detail} />
        </>
      )}
    </>
  );
}

function History({ alarms, highestLevel }: { alarms: readonly Alarm[]; highestLevel: number }) {
  const [all, setAll] = useState(false);
  return (
    <section class="card" aria-labelledby="history">
      <h2 id="history">Alarms</h2>
      {alarms.length === 0 ? (
        <p class="empty">There was none yet.</p>
      ) : (
        <AlarmTable
          label="Alarms of this patient"
          alarms={all ? alarms : alarms.slice(0, SHOWN_ALARMS)}
          highestLevel={() => highestLevel}
          withPatient={false}
        />
      )}
      {!all && alarms.length > SHOWN_ALARMS && (
        <button
          type="button"
          onClick={() => {
            setAll(true);
          }}
        >
          Show all {alarms.length}
        </button>
      )}
    </section>
  );
}

function Enrolment({ detail }: { detail: PatientDetail }) {
  return (
    <section class="card" aria-labelledby="enrolment">
      <h2 id="enrolment">Enrolment</h2>
      <Facts
        facts={[
          ['Enrolled', <Time at={detail.enrolledAt} />],
          ['Channels, as names only', detail.channels.join(', ')],
          ['Baseline', `${detail.baseline}, of ${detail.window} samples`],
          ['Levels', `0 to ${detail.highestLevel}`],
        ]}
      />
    </section>
  );
}
