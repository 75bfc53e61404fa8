import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

import { describeError } from '../api/api-error.js';
import { TIMELINE_LIMIT } from '../api/client.js';
import type { LevelPoint } from '../api/types.js';
import { useServices, useStore } from '../services.js';
import { lastSequence } from './fleet-store.js';
import { append, hasHole, prepend } from './timeline.js';

/** A patient's time line. */
export interface LoadedTimeline {
  readonly points: readonly LevelPoint[];
  readonly problem: string;
  /** Undefined where there are none. */
  readonly loadEarlier: (() => void) | undefined;
}

/** The last samples of a patient: loaded, and kept up to date by changes. */
export function useTimeline(patient: string): LoadedTimeline {
  const services = useServices();
  const connected = useStore(services.live.connection).state === 'live';
  const [points, setPoints] = useState<readonly LevelPoint[]>([]);
  const [problem, setProblem] = useState('');
  const loaded = useRef(false);

  const load = useCallback(
    (from: number, take: (points: readonly LevelPoint[]) => void): void => {
      services.api.timeline(patient, Math.max(1, from)).then(
        (found) => {
          take(found);
          setProblem('');
        },
        (error: unknown) => {
          setProblem(describeError(error));
        },
      );
    },
    [services, patient],
  );

  const loadLast = useCallback((): void => {
    const summary = services.fleet.view.value?.get(patient);
    const from = (summary === undefined ? 0 : lastSequence(summary)) - TIMELINE_LIMIT + 1;
    load(from, (found) => {
      loaded.current = true;
      setPoints((known) => append(found, known));
    });
  }, [services, patient, load]);

  useEffect(() => {
    if (connected) loadLast();
  }, [connected, loadLast]);

  useEffect(
    () =>
      services.onChange(({ summary }) => {
        if (summary.patient !== patient || !loaded.current) return;
        setPoints((known) => {
          if (!hasHole(known, summary.recent)) return append(known, summary.recent);
          loadLast();
          return known;
        });
      }),
    [services, patient, loadLast],
  );

  const first = points[0]?.[0] ?? 1;
  const loadEarlier = (): void => {
    load(first - TIMELINE_LIMIT, (found) => {
      setPoints((known) => prepend(known, found));
    });
  };
  return { points, problem, loadEarlier: first > 1 ? loadEarlier : undefined };
}
