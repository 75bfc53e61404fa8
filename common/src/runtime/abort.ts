import { abortReason } from './clock.js';

/** An abort controller that also follows signals, for as long as it is not released. */
export interface LinkedAbort {
  readonly signal: AbortSignal;
  /** Aborts, unless that has happened already. */
  abort(reason: Error): void;
  /** Lets go of the signals that are followed. */
  release(): void;
}

/**
 * A controller for a part of what the parents govern. Unlike `AbortSignal.any` it leaves nothing behind on
 * them once it is released: a signal that lives as long as its process may have any number of parts.
 */
export function linkedAbort(...parents: readonly AbortSignal[]): LinkedAbort {
  const controller = new AbortController();
  const links = parents.map((parent) => link(parent, controller));
  return {
    signal: controller.signal,
    abort: (reason) => {
      controller.abort(reason);
    },
    release: () => {
      for (const unlink of links) unlink();
    },
  };
}

/** Aborts a controller with a signal; returns how to undo that. */
function link(parent: AbortSignal, controller: AbortController): () => void {
  const forward = (): void => {
    controller.abort(abortReason(parent));
  };
  if (parent.aborted) forward();
  else parent.addEventListener('abort', forward, { once: true });
  return () => {
    parent.removeEventListener('abort', forward);
  };
}
