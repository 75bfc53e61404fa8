import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

import { describeError } from '../api/api-error.js';
import type { PatientDetail } from '../api/types.js';
import { useServices, useStore } from '../services.js';
import { mergeAlarms } from './alarm-list.js';
import { lacksBaseline } from './baselines.js';
import { lastSequence } from './fleet-store.js';

/** A patient's page's data. */
export interface LoadedPatient {
  /** Undefined until it is loaded. */
  readonly detail: PatientDetail | undefined;
  /** Why it could not be loaded; empty where it was. */
  readonly problem: string;
  readonly reload: () => void;
}

/** A patient: loaded, loaded again after each loss of the connection, and kept up to date by changes. */
export function usePatient(patient: string): LoadedPatient {
  const services = useServices();
  const connected = useStore(services.live.connection).state === 'live';
  const [detail, setDetail] = useState<PatientDetail>();
  const [problem, setProblem] = useState('');
  const latest = useRef(0);
  const loading = useRef(false);

  const reload = useCallback((): void => {
    const asked = ++latest.current;
    loading.current = true;
    services.api.patient(patient).then(
      (loaded) => {
        if (asked !== latest.current) return;
        loading.current = false;
        setDetail(loaded);
        setProblem('');
      },
      (error: unknown) => {
        if (asked !== latest.current) return;
        loading.current = false;
        setProblem(describeError(error));
      },
    );
  }, [services, patient]);

  useEffect(() => {
    if (connected) reload();
  }, [connected, reload]);

  useEffect(
    () =>
      services.onChange(({ summary, changed }) => {
        if (summary.patient !== patient) return;
        setDetail(
          (known) =>
            known && { ...known, ...summary, history: mergeAlarms(known.history, changed) },
        );
      }),
    [services, patient],
  );

  // Of a baseline that has been learnt, a change has the number only.
  const missing = detail !== undefined && lacksBaseline(detail);
  const last = detail === undefined ? 0 : lastSequence(detail);
  useEffect(() => {
    if (missing && !loading.current) reload();
  }, [missing, last, reload]);

  return { detail, problem, reload };
}
