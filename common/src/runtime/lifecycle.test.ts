import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';

// The built package: `npm test` builds it first.
const runtime = new URL('../../dist/runtime/lifecycle.js', import.meta.url).href;
const errors = new URL('../../dist/errors.js', import.meta.url).href;

/** A process of its own that runs a programme with the room's functions in scope. */
const run = (
  body: string,
  environment: NodeJS.ProcessEnv = {},
): {
  child: ChildProcessWithoutNullStreams;
  ended: Promise<{ status: unknown; stderr: string }>;
} => {
  const programme = `
    import { runMain, unlessStopped, untilStopped } from '${runtime}';
    import { duoveilError } from '${errors}';
    ${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', programme], {
    env: { PATH: process.env['PATH'], ...environment },
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('utf8');
  });
  const ended = once(child, 'close').then(([status, signal]: unknown[]) => ({
    status: status ?? signal,
    stderr: stripVTControlCharacters(stderr),
  }));
  return { child, ended };
};

describe('a programme', () => {
  it('that succeeds says nothing', async () => {
    expect(await run('await runMain(async () => {});').ended).toEqual({ status: 0, stderr: '' });
  });

  it("ends with one line and status 2 where the user's input is wrong", async () => {
    const body = `await runMain(async () => {
      throw duoveilError('OPTION_INVALID', '--window must be 2 or more', { option: '--window' });
    });`;
    expect(await run(body).ended).toEqual({
      status: 2,
      stderr: 'duoveil: --window must be 2 or more [OPTION_INVALID]\n',
    });
  });

  it('ends with status 1 otherwise, and shows a stack only when debugging', async () => {
    for (const fail of ['throw', 'void Promise.reject(']) {
      const body = `await runMain(async () => {
        ${fail} new Error('defect')${fail === 'throw' ? '' : ')'};
        await new Promise((resolve) => setTimeout(resolve, 5000));
      });`;
      expect(await run(body).ended).toEqual({
        status: 1,
        stderr:
          'duoveil: an internal error occurred; set DUOVEIL_LOG_LEVEL=debug to see where [INTERNAL]\n',
      });
      const debugging = await run(body, { DUOVEIL_LOG_LEVEL: 'debug' }).ended;
      expect(debugging.stderr).toContain('Error: defect\n    at ');
    }
  });

  it('that fails ends, whatever it has begun before', async () => {
    const body = `await runMain(async () => {
      void untilStopped();
      setInterval(() => {}, 1000);
      throw duoveilError('CONFIG_INVALID', 'the port is in use', { path: 'listen' });
    });`;
    // Its standard input stays open: only its own end can end it.
    expect(await run(body, { DUOVEIL_STOP_ON_STDIN_END: '1' }).ended).toEqual({
      status: 2,
      stderr: 'duoveil: the port is in use [CONFIG_INVALID]\n',
    });
  });

  it('that has nobody to stop it but the one who asked goes on until it is done', async () => {
    const work = 'new Promise((resolve) => setTimeout(resolve, 20))';
    const body = `await runMain(async () => {
      await unlessStopped(async () => ${work});
      process.stderr.write('done\\n');
    });`;
    expect(await run(body, { DUOVEIL_STOP_ON_STDIN_END: '1' }).ended).toEqual({
      status: 0,
      stderr: 'done\n',
    });
  });

  it('that is asked to stop in the middle says so, and ends with status 1', async () => {
    const body = `await runMain(() => unlessStopped(async () => {
      process.stderr.write('busy\\n');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    }));`;
    const { child, ended } = run(body, { DUOVEIL_STOP_ON_STDIN_END: '1' });
    await once(child.stderr, 'data');
    child.stdin.end();
    expect(await ended).toEqual({
      status: 1,
      stderr: 'busy\nduoveil: stopped before the end (standard input ended) [NOT_READY]\n',
    });
  });

  it('survives that nobody reads its output, and is told', async () => {
    const { child, ended } = run(`await runMain(async (outputGone) => {
      while (!outputGone.aborted) {
        process.stdout.write('line\\n');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      throw outputGone.reason;
    });`);
    child.stdout.destroy();
    expect(await ended).toEqual({ status: 0, stderr: '' });
  });

  const waiting = `
    const stopped = untilStopped();
    process.stderr.write('waiting\\n');
    const reason = await stopped;
    process.stderr.write(reason + '\\n');`;
  const keepAlive = 'const timer = setInterval(() => {}, 1000);';

  it.each(['SIGINT', 'SIGTERM'] as const)('waits until %s', async (signal) => {
    const { child, ended } = run(`${keepAlive}${waiting} clearInterval(timer);`);
    await once(child.stderr, 'data');
    child.stdin.end();
    child.kill(signal);
    expect(await ended).toEqual({ status: 0, stderr: `waiting\n${signal}\n` });
  });

  it('is ended at once by a second signal', async () => {
    const { child, ended } = run(`${keepAlive}${waiting}`);
    await once(child.stderr, 'data');
    child.kill('SIGTERM');
    await once(child.stderr, 'data');
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ status: 'SIGTERM' });
  });

  it('ends with its parent where it is asked to', async () => {
    const { child, ended } = run(`${keepAlive}${waiting} clearInterval(timer);`, {
      DUOVEIL_STOP_ON_STDIN_END: '1',
    });
    await once(child.stderr, 'data');
    child.stdin.end();
    expect(await ended).toEqual({ status: 0, stderr: 'waiting\nstandard input ended\n' });
  });
});
