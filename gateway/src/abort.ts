import { abortReason } from '@duoveil/common/runtime';

/** An abort controller that also follows a signal, for as long as it is not released. */
export interface LinkedAbort {
  readonly signal: AbortSignal;
  /** Aborts, unless that has happened already. */
  abort(reason: Error): void;
  /** Lets go of the signal that was followed. */
  release(): void;
}

/** A controller for a part of what `parent` governs. */
export function linkedAbort(parent: AbortSignal): LinkedAbort {
  const controller = new AbortController();
  const forward = (): void => {
    controller.abort(abortReason(parent));
  };
  if (parent.aborted) forward();
  else parent.addEventListener('abort', forward, { once: true });
  return {
    signal: controller.signal,
    abort: (reason) => {
      controller.abort(reason);
    },
    release: () => {
      parent.removeEventListener('abort', forward);
    },
  };
}
