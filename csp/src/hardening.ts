import { duoveilError } from '@duoveil/common/errors';
import type { Logger } from '@duoveil/common/runtime';

/** Options of Node.js with which a process shows its memory to others. */
const SHOWING =
  /(?:^|\s)(--(?:inspect|heapsnapshot|heap-prof|report-(?:on|uncaught)|abort-on-uncaught)[\w-]*)/;

/**
 * Close the ways by which Node.js lets others look into a process: the debugger that SIGUSR1 starts,
 * and reports on signals. Core dumps are the operating system's to forbid.
 * @param options the process's own, and those of `NODE_OPTIONS`
 * @throws DuoveilError `OPTION_INVALID` where one of them writes memory down or opens a debugger
 */
export function harden(logger: Logger, options: readonly string[]): void {
  // As Node.js reads them: quotes and backslashes go, and an underscore is as good as a dash.
  const read = options.join(' ').replaceAll(/["\\]/g, '').replaceAll('_', '-');
  const [, option] = SHOWING.exec(read) ?? [];
  if (option !== undefined) {
    throw duoveilError(
      'OPTION_INVALID',
      `${option}: a process that holds keys is not started with this option of Node.js: leave it out`,
      { option },
    );
  }
  // A handler of one's own takes the place of the one that listens for debuggers.
  process.on('SIGUSR1', () => {
    logger.warn('SIGUSR1 was ignored: this process holds keys and takes no debugger');
  });
  process.report.reportOnSignal = false;
}
