import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';

import { describeError } from '../api/api-error.js';
import type { Alarm, AlarmFilter } from '../api/types.js';
import { AlarmFilters } from '../parts/alarm-filters.js';
import { AlarmTable } from '../parts/alarm-table.js';
import { PageHeading } from '../parts/page-heading.js';
import { useMay, useServices, useStore } from '../services.js';
import { matches, mergeAlarms } from '../state/alarm-list.js';

/** Alarms that are asked for at first, and with each "show more". */
const STEP = 200;

/** The most that the page asks for. */
const MOST = 1_000;

/** Alarms of all patients, with their history; acknowledged one by one or many at once. */
export function AlarmsPage() {
  const services = useServices();
  const fleet = useStore(services.fleet.view);
  const mayAcknowledge = useMay('operator');
  const [filter, setFilter] = useState<AlarmFilter>({ acknowledged: false });
  const [limit, setLimit] = useState(STEP);
  const { alarms, problem, take } = useAlarms(filter, limit);
  const shown = useMemo(() => alarms?.filter((alarm) => matches(alarm, filter)), [alarms, filter]);
  const open = shown?.filter(({ acknowledged }) => acknowledged === undefined) ?? [];
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const chosenOpen = open.filter(({ id }) => chosen.has(id));

  const toggle = (alarm: Alarm): void => {
    const next = new Set(chosen);
    if (!next.delete(alarm.id)) next.add(alarm.id);
    setChosen(next);
  };
  const acknowledge = async (): Promise<void> => {
    try {
      take(await services.api.acknowledge(chosenOpen.map(({ id }) => id)));
      services.tell(`${count(chosenOpen.length)} acknowledged.`, 'done');
      setChosen(new Set());
    } catch (error) {
      services.tell(`Not acknowledged: ${describeError(error)}`, 'problem');
    }
  };

  return (
    <>
      <PageHeading title="Alarms" />
      <AlarmFilters filter={filter} onChange={setFilter} />
      {mayAcknowledge && open.length > 0 && (
        <div class="bulk">
          <button
            type="button"
            onClick={() => {
              setChosen(new Set(chosenOpen.length === open.length ? [] : open.map(({ id }) => id)));
            }}
          >
            {chosenOpen.length === open.length ? 'Select none' : `Select all ${open.length}`}
          </button>
          <button
            type="button"
            class="primary"
            disabled={chosenOpen.length === 0}
            onClick={() => void acknowledge()}
          >
            Acknowledge {chosenOpen.length === 0 ? 'selected' : chosenOpen.length}
          </button>
        </div>
      )}
      {problem !== '' && <p class="problem">The alarms could not be read: {problem}</p>}
      <Outcome shown={shown} />
      {shown !== undefined && shown.length > 0 && (
        <div class="card">
          <AlarmTable
            label="Alarms"
            alarms={shown}
            highestLevel={(patient) => fleet?.get(patient)?.highestLevel ?? 3}
            selection={mayAcknowledge ? { chosen, onToggle: toggle } : undefined}
            withPatient
          />
        </div>
      )}
      {alarms !== undefined && alarms.length >= limit && limit < MOST && (
        <button
          type="button"
          onClick={() => {
            setLimit(limit + STEP);
          }}
        >
          Show earlier ones
        </button>
      )}
    </>
  );
}

function Outcome({ shown }: { shown: readonly Alarm[] | undefined }) {
  return (
    <p class="outcome" role="status">
      {shown === undefined
        ? 'Loading the alarms …'
        : shown.length === 0
          ? 'No alarm matches.'
          : `${count(shown.length)}, the latest first`}
    </p>
  );
}

function count(alarms: number): string {
  return alarms === 1 ? '1 alarm' : `${alarms} alarms`;
}

interface Loaded {
  /** Undefined while they are being loaded. */
  readonly alarms: readonly Alarm[] | undefined;
  readonly problem: string;
  /** Take alarms that have changed. */
  readonly take: (changed: readonly Alarm[]) => void;
}

/** The alarms of a filter: loaded, loaded again after each loss of the connection, and kept up to date. */
function useAlarms(filter: AlarmFilter, limit: number): Loaded {
  const services = useServices();
  const connected = useStore(services.live.connection).state === 'live';
  const [alarms, setAlarms] = useState<readonly Alarm[]>();
  const [problem, setProblem] = useState('');
  const { active, acknowledged, kind } = filter;
  const take = useCallback((changed: readonly Alarm[]): void => {
    setAlarms((known) => known && mergeAlarms(known, changed));
  }, []);

  useEffect(() => {
    // While the connection is lost the last state stays.
    if (!connected) return undefined;
    let wanted = true;
    // What changes while the answer is under way may be missing from it.
    const meanwhile: Alarm[] = [];
    const forget = services.onChange(({ changed }) => meanwhile.push(...changed));
    // The patient is looked for in the page: a part of the pseudonym is enough.
    services.api.alarms({ active, acknowledged, kind }, limit).then(
      (loaded) => {
        if (!wanted) return;
        setAlarms(mergeAlarms(loaded, meanwhile));
        setProblem('');
      },
      (error: unknown) => {
        if (wanted) setProblem(describeError(error));
      },
    );
    return () => {
      wanted = false;
      forget();
    };
  }, [services, connected, active, acknowledged, kind, limit]);

  useEffect(
    () =>
      services.onChange(({ changed }) => {
        if (changed.length > 0) take(changed);
      }),
    [services, take],
  );
  return { alarms, problem, take };
}
