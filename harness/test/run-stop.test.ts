/** `duoveil run` that is stopped, killed, or not listened to: nothing of it stays behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';

import { describe, expect, onTestFinished, test } from 'vitest';

import type { Observed } from '../src/parties/observed.js';
import { descendantsOf, stillRunning } from '../src/parties/processes.js';
import type { ProcessEntry } from '../src/parties/processes.js';
import { DUOVEIL, LONG, REFERENCE, scratch, SHORT_KEY, start } from './support/duoveil.js';
import { recording } from './support/recordings.js';

/** So long that nobody waits for the end of it. */
const LONG_SET_UP = ['--key-bits', '8192'];

function commandLine(keyBits: readonly string[] = SHORT_KEY): string[] {
  const input = recording('01', scratch());
  return ['run', '--json', '--input', input.path, '--window', '8', ...REFERENCE, ...keyBits];
}

/** A run whose temporary files go to a directory of their own. */
function begin(keyBits?: readonly string[]): { run: Observed; temporary: string } {
  const temporary = scratch();
  const run = start(commandLine(keyBits), { environment: { TMPDIR: temporary } });
  return { run, temporary };
}

/** Waits for a process below a run, by a part of its command line. */
async function below(run: Observed, command: string): Promise<ProcessEntry[]> {
  const find = (): ProcessEntry[] =>
    descendantsOf(run.pid).filter((entry) => entry.command.includes(command));
  await expect.poll(find, { timeout: 30_000, interval: 10 }).not.toEqual([]);
  return find();
}

const setUp = async (run: Observed): Promise<void> => {
  await below(run, 'csp/dist/main.js init');
};
const streaming = async (run: Observed): Promise<void> => {
  await run.until(() => run.output.length > 10);
  expect(await below(run, 'dist/main.js')).toHaveLength(3);
};

describe('a run that is asked to stop', () => {
  test.each([
    { when: 'while the master key is drawn', signal: 'SIGINT', bits: LONG_SET_UP, reached: setUp },
    {
      when: 'while the CSP starts',
      signal: 'SIGHUP',
      bits: SHORT_KEY,
      reached: (run: Observed) => below(run, 'csp/dist/main.js serve'),
    },
    {
      when: 'while the patient is enrolled',
      signal: 'SIGTERM',
      bits: SHORT_KEY,
      reached: (run: Observed) => below(run, 'gateway/dist/main.js enrol'),
    },
    { when: 'while it streams', signal: 'SIGINT', bits: SHORT_KEY, reached: streaming },
  ] as const)('$when stops everything first', async ({ signal, bits, reached }) => {
    const { run, temporary } = begin(bits);
    await reached(run);
    const children = descendantsOf(run.pid);
    run.signal(signal);
    expect(await run.ended).toEqual({
      code: 1,
      signal: null,
      lastWords: `duoveil: stopped before the end (${signal}) [NOT_READY]`,
    });
    expect(stillRunning(children)).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
    expect(run.output.every((line) => !line.includes('summary'))).toBe(true);
  });

  test.runIf(LONG)(
    'by its terminal, as everything that it started is, says one thing',
    async () => {
      const { run, temporary } = begin();
      await streaming(run);
      const children = descendantsOf(run.pid);
      for (const { pid } of children) process.kill(pid, 'SIGINT');
      run.signal('SIGINT');
      expect(await run.ended).toMatchObject({ code: 1 });
      expect(run.log.filter((line) => line.startsWith('duoveil: '))).toHaveLength(1);
      expect(stillRunning(children)).toEqual([]);
      expect(readdirSync(temporary)).toEqual([]);
    },
  );
});

describe('a run that is killed', () => {
  test.each([
    { when: 'while the master key is drawn', bits: LONG_SET_UP, reached: setUp },
    { when: 'while it streams', bits: SHORT_KEY, reached: streaming },
  ])('$when takes everything with it', async ({ bits, reached }) => {
    const { run } = begin(bits);
    await reached(run);
    const children = descendantsOf(run.pid);
    expect(children).not.toEqual([]);
    run.signal('SIGKILL');
    expect(await run.ended).toMatchObject({ signal: 'SIGKILL' });
    await expect.poll(() => stillRunning(children), { timeout: 30_000 }).toEqual([]);
  });
});

describe('a run whose server is stopped by somebody else', () => {
  test.each(LONG ? ['service-provider', 'csp'] : ['service-provider'])(
    'does not wait for it for ever: %s',
    async (name) => {
      const { run, temporary } = begin();
      await streaming(run);
      const [server] = await below(run, `${name}/dist/main.js serve`);
      if (server === undefined) throw new Error('it was there');
      process.kill(server.pid, 'SIGTERM');
      const { code, lastWords } = await run.ended;
      expect(lastWords).toMatch(/^duoveil: the (csp|sp) ended before the last row \[PEER_UNAVAIL/);
      expect(code).toBe(1);
      expect(readdirSync(temporary)).toEqual([]);
    },
  );
});

test('a run whose output nobody reads any more ends quietly', async () => {
  const temporary = scratch();
  const run = spawn(process.execPath, [DUOVEIL, ...commandLine()], {
    env: { ...process.env, TMPDIR: temporary },
  });
  onTestFinished(() => {
    run.kill('SIGKILL');
  });
  const log: string[] = [];
  createInterface({ input: run.stderr }).on('line', (line) => log.push(line));
  await once(createInterface({ input: run.stdout }), 'line');
  const children = descendantsOf(run.pid ?? 0);
  run.stdout.destroy();
  expect(await once(run, 'close')).toEqual([0, null]);
  expect(log.join('\n')).not.toMatch(/EPIPE|\bat .*:\d+|duoveil: (?!the )/);
  expect(stillRunning(children)).toEqual([]);
  expect(readdirSync(temporary)).toEqual([]);
});
