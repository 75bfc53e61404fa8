/** How a process begins and ends. */
import { duoveilError, exitStatus, toDuoveilError } from '../errors.js';
import { systemErrorCode } from './files.js';

/** Why {@link untilStopped} resolved. */
export type StopReason = 'SIGINT' | 'SIGTERM' | 'standard input ended';

/**
 * Resolves when the process is asked to stop: by SIGINT or SIGTERM, and, with
 * `DUOVEIL_STOP_ON_STDIN_END=1` in the environment, when standard input ends, so that a supervised
 * child never outlives its parent, however that died. A second signal ends the process at once.
 */
export function untilStopped(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<StopReason> {
  return new Promise((resolve) => {
    const stop = (reason: StopReason): void => {
      process.off('SIGINT', onInterrupt).off('SIGTERM', onTerminate);
      process.stdin.off('end', onInputEnd).off('close', onInputEnd).off('error', onInputEnd);
      process.stdin.pause();
      resolve(reason);
    };
    const onInterrupt = (): void => {
      stop('SIGINT');
    };
    const onTerminate = (): void => {
      stop('SIGTERM');
    };
    const onInputEnd = (): void => {
      stop('standard input ended');
    };
    process.once('SIGINT', onInterrupt).once('SIGTERM', onTerminate);
    if (environment['DUOVEIL_STOP_ON_STDIN_END'] === '1') {
      process.stdin.on('end', onInputEnd).on('close', onInputEnd).on('error', onInputEnd);
      process.stdin.resume();
    }
  });
}

/**
 * Does something that may be left at any point, unless the process is asked to stop before it is
 * done.
 * @throws NOT_READY where it is: the programme then ends, and the work with it
 */
export async function unlessStopped<T>(work: () => Promise<T>): Promise<T> {
  const stopped = untilStopped().then((reason) => {
    throw duoveilError('NOT_READY', `stopped before the end (${reason})`);
  });
  try {
    return await Promise.race([work(), stopped]);
  } finally {
    // Listening for its end keeps the process alive.
    process.stdin.pause();
  }
}

/**
 * Runs a programme: on an error one line on standard error, `duoveil: <message> [CODE]`, and the exit
 * status that belongs to it. Stacks are shown only with `DUOVEIL_LOG_LEVEL=debug`. Where `main` fails
 * the process ends at once, whatever was begun and cannot be stopped any more; else it ends by itself
 * when nothing keeps it.
 * @param main gets a signal that is aborted when nobody reads standard output any more
 */
export async function runMain(main: (outputGone: AbortSignal) => Promise<void>): Promise<void> {
  const outputGone = new AbortController();
  process.stdout.on('error', (error: Error) => {
    if (systemErrorCode(error) === 'EPIPE') outputGone.abort(error);
    else report(error);
  });
  // There is nowhere left to say anything.
  process.stderr.on('error', () => undefined);
  process.on('uncaughtException', (error) => {
    report(error);
    process.exit();
  });
  try {
    await main(outputGone.signal);
  } catch (error) {
    // A reader that has seen enough, as in `duoveil run | head`, is no failure.
    if (outputGone.signal.aborted) return;
    report(error);
    process.exit();
  }
}

function report(thrown: unknown): void {
  const error = toDuoveilError(thrown);
  const debug = process.env['DUOVEIL_LOG_LEVEL'] === 'debug';
  const hint =
    error.code === 'INTERNAL' && !debug ? '; set DUOVEIL_LOG_LEVEL=debug to see where' : '';
  process.stderr.write(`duoveil: ${error.message}${hint} [${error.code}]\n`);
  for (let shown: unknown = error; debug && shown instanceof Error; shown = shown.cause) {
    process.stderr.write(`${shown.stack ?? shown.message}\n`);
  }
  process.exitCode = exitStatus(error);
}
