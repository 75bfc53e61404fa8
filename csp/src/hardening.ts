import type { Logger } from '@duoveil/common/runtime';

/**
 * Close the ways by which Node.js lets others look into a process: the debugger that SIGUSR1 starts,
 * and the environment in diagnostic reports. Core dumps are the operating system's to forbid.
 */
export function harden(logger: Logger): void {
  // A handler of one's own takes the place of the one that listens for debuggers.
  process.on('SIGUSR1', () => {
    logger.warn('SIGUSR1 was ignored: this process holds keys and takes no debugger');
  });
  process.report.reportOnSignal = false;
}
