import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { writeCredentials } from '@duoveil/common/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { PARAMETERS, TestBed } from './fixture.js';

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string[];
  readonly stderr: string[];
}

let bed: TestBed;
let tls: string;
let state: string;
let input: string;
let secret: readonly string[];
beforeAll(async () => {
  bed = await TestBed.create();
  await bed.sp.start();
  tls = join(bed.directory, 'tls');
  await writeCredentials(tls, await bed.credentials());
  state = join(bed.directory, 'state');
  input = join(bed.directory, 'vitals.csv');
  const keyFile = join(bed.directory, 'sealing.key');
  await writeFile(keyFile, `${'07'.repeat(32)}\n`);
  secret = ['--key-file', keyFile];
  const rows = Array.from({ length: 12 }, (_, i) => `${i}, ${70 + i}, ${i === 6 ? 'NaN' : 97}`);
  await writeFile(input, ['Time [s], HR, SpO2', ...rows, ''].join('\n'));
});
afterAll(async () => {
  await bed.close();
});

async function gateway(
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  onLine: (line: string, kill: () => void) => void = () => undefined,
): Promise<Ended> {
  const child = spawn(process.execPath, [main, ...words], {
    env: { ...process.env, ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stdout: string[] = [];
  const stderr: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    stdout.push(line);
    onLine(line, () => child.kill('SIGTERM'));
  });
  createInterface({ input: child.stderr }).on('line', (line) => stderr.push(line));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

const connection = () => ['--sp', bed.sp.address, '--tls', tls, '--state', state];
const enrolment = () => [
  ...['enrol', ...connection(), '--parameters-digest', PARAMETERS.digest],
  ...['--insecure-key-bits', '--channels', 'HR,SpO2', '--window', '4'],
  ...['--suite', 'reference'],
];

describe('duoveil gateway', () => {
  it('enrols, streams and tells its status', async () => {
    expect(await gateway([...enrolment(), ...secret])).toEqual({
      code: 0,
      stdout: [`patient-1 is enrolled, with a new key; state in ${state}`],
      stderr: [],
    });
    // As under a supervisor: standard input is open, and its end would stop the gateway.
    const { code, stdout, stderr } = await gateway(
      ['stream', ...connection(), ...secret, '--input', input, '--json'],
      { DUOVEIL_STOP_ON_STDIN_END: '1' },
    );
    expect([code, stderr]).toEqual([0, []]);
    const lines = stdout.map((line) => JSON.parse(line) as unknown);
    expect(lines.slice(0, 4)).toEqual([0, 1, 2, 3].map((index) => ({ index, learning: true })));
    expect(lines[4]).toEqual({ index: 4, outlier: false, md2: 0.625, latencyMs: 1.5 });
    expect(lines[6]).toEqual({ index: 6, skipped: 'SpO2 is missing' });
    expect(lines[10]).toMatchObject({ index: 10, outlier: true });
    expect(lines).toHaveLength(13);
    expect(lines[12]).toEqual({
      summary: {
        rows: 12,
        scored: 7,
        outliers: 1,
        skipped: 1,
        trainMs: 20,
        scoreMsMedian: 1.5,
        // Two ciphertexts of two 128-byte components with tags and lengths, the number, the message's own.
        bytesPerSample: 2 * (3 + 2 * (3 + 128)) + 2 + 3,
        suite: 'reference',
        output: 'distance',
        keyBits: 512,
      },
    });
    const again = await gateway(['stream', ...connection(), ...secret, '--input', input]);
    expect(again.stdout).toContain('row 10      OUTLIER  MD² 1.25      1.5 ms');
    expect(again.stdout).toContain('row 6       skipped: SpO2 is missing');
    expect(again.stdout).toContain('baseline 1 trained in 20.0 ms');
    const status = await gateway(['status', '--state', state, '--json']);
    expect(JSON.parse(status.stdout[0] ?? '')).toMatchObject({
      patient: 'patient-1',
      secretKey: 'sealed with a key',
      keyBits: 512,
      channels: ['HR', 'SpO2'],
      window: 4,
      recording: input,
    });
  });

  it('takes settings from the environment and from a file', async () => {
    const config = join(bed.directory, 'gateway.yaml');
    const lines = [`sp: ${bed.sp.address}`, `tls: ${tls}`, 'window: 4', 'channels: [HR, SpO2]'];
    await writeFile(config, [...lines, `parametersDigest: '${PARAMETERS.digest}'`, ''].join('\n'));
    const { code, stdout } = await gateway(['enrol', '--config', config, '--insecure-key-bits'], {
      DUOVEIL_GATEWAY_STATE: join(bed.directory, 'state-2'),
      DUOVEIL_GATEWAY_PASSPHRASE: 'secret',
      // Another party's.
      DUOVEIL_STATE: '/nowhere',
    });
    expect([code, stdout[0]]).toEqual([0, expect.stringContaining('state-2')]);
  });

  it('stops when it is asked to, and says so', async () => {
    const long = join(bed.directory, 'long.csv');
    const rows = Array.from({ length: 5000 }, () => '70,97');
    await writeFile(long, ['HR,SpO2', ...rows, ''].join('\n'));
    const own = join(bed.directory, 'state-3');
    await mkdir(own);
    const words = enrolment().map((word) => (word === state ? own : word));
    await gateway(words, { DUOVEIL_GATEWAY_PASSPHRASE: 'secret' });
    bed.sp.stored.clear();
    const { code, stderr } = await gateway(
      [
        ...['stream', '--sp', bed.sp.address, '--tls', tls, '--state', own],
        ...['--input', long, '--json', '--realtime'],
      ],
      { DUOVEIL_GATEWAY_PASSPHRASE: 'secret' },
      (line, kill) => {
        if (line.startsWith('{"index":1,')) kill();
      },
    );
    expect([code, stderr]).toEqual([
      1,
      ['duoveil: stopped before the end (SIGTERM); start again to go on [NOT_READY]'],
    ]);
  });

  it.each<[string, () => string[], RegExp]>([
    ['no subcommand', () => [], /a subcommand is needed/],
    ['an unknown option', () => ['stream', '--fast'], /unknown option '--fast'/],
    ['a missing option', () => ['stream', '--sp', 'a:1'], /--tls is needed; .*DUOVEIL_GATEWAY_TLS/],
    ['a wrong window', () => [...enrolment(), '--window', '3'], /--window: must be .* from 4 to/],
    ['no secret', () => [...enrolment(), '--state', `${state}-4`], /set --passphrase-file/],
    ['no limit', () => ['stream', ...connection(), '--input', input, '--limit', '0'], /1 or more/],
    [
      'no secret for the spool',
      () => ['stream', ...connection(), '--input', input],
      /not none: set/,
    ],
    [
      'a missing file',
      () => ['stream', ...connection(), ...secret, '--input', '/none.csv'],
      /no such file/,
    ],
    [
      'a spool that is too small',
      () => [
        ...['stream', ...connection(), ...secret, '--input', input],
        ...['--spool-max-bytes', '1000'],
      ],
      /--spool-max-bytes: must be 1048576 bytes or more/,
    ],
    [
      'too few rows',
      () => ['stream', ...connection(), ...secret, '--input', input, '--limit', '3'],
      /vitals.csv has 3 complete rows of 3; a window of 4 needs at least 4 \[INPUT_INVALID\]$/,
    ],
    [
      'a wrong digest',
      () => [...enrolment(), '--parameters-digest', 'abc'],
      /--parameters-digest must be the 64 hexadecimal digits/,
    ],
  ])('ends with 2 and one line for %s', async (_, words, message) => {
    const { code, stdout, stderr } = await gateway(words());
    expect([code, stdout]).toEqual([2, []]);
    expect(stderr.at(-1)).toMatch(message);
    expect(stderr.at(-1)).toMatch(/^duoveil: .* \[[A-Z_]+\]$/);
    if (words().length > 0) expect(stderr).toHaveLength(1);
  });

  it('explains itself', async () => {
    for (const words of [['--help'], ['enrol', '--help'], ['stream', '--help']]) {
      const { code, stdout } = await gateway(words);
      expect(code).toBe(0);
      expect(stdout[0]).toMatch(/^Usage: gateway/);
    }
  });
});
