/** What `duoveil` says, and how it ends, where the input or an option is wrong. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { exitStatus, isDuoveilError } from '@duoveil/common/errors';
import { gatewayCommand } from '@duoveil/gateway/cli';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { runCommand } from '../src/run/cli.js';
import { duoveil, readResults, REFERENCE, scratch, SHORT_KEY } from './support/duoveil.js';
import type { Outcome } from './support/duoveil.js';

const HEADER = 'Time [s],HR,PULSE,RESP,SpO2';

/** A recording of a calm patient, in which some lines are replaced. */
function lines(rows: number, replaced: Readonly<Record<number, string>> = {}): string {
  const calm = (i: number): string => `${i},${80 + (i % 3)},${80 + (i % 2)},${16 - (i % 2)},97`;
  return [HEADER, ...Array.from({ length: rows }, (_, i) => replaced[i] ?? calm(i)), ''].join('\n');
}

/** A schema of channels that differ in their names only. */
function schema(names: readonly string[], noiseFloor: number): string {
  const range = { min: 0, max: 65_535, resolution: 1, noiseFloor };
  return JSON.stringify({ channels: names.map((name) => ({ name, ...range })) });
}

const WIDE = ['C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7', 'C8'];

const FILES: Readonly<Record<string, string>> = {
  'good.csv': lines(20),
  'empty.csv': '',
  'header.csv': `${HEADER}\n`,
  'short.csv': lines(9, { 3: '3,NaN,80,16,97' }),
  'surplus.csv': lines(20, { 4: '4,80,80,16,97,1,2' }),
  'quote.csv': lines(20, { 4: '4,"80,80,16,97' }),
  'wide.csv': [WIDE.join(), ...Array<string>(20).fill(WIDE.map((_, i) => i).join()), ''].join('\n'),
  'floor.json': schema(['HR'], 0),
  'wide.json': schema(WIDE, 1),
  'not.yaml': 'channels: [',
};

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'duoveil-test-'));
  mkdirSync(join(directory, 'a-directory'));
  for (const [name, content] of Object.entries(FILES)) {
    writeFileSync(join(directory, name), content);
  }
  mkdirSync(join(directory, 'used'));
  writeFileSync(join(directory, 'used', 'custody.json'), '{}');
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

interface Case {
  readonly name: string;
  /** `@name` stands for a file. */
  readonly parameters: readonly string[];
  /** What is wrong, where, and what would be right. */
  readonly says: RegExp;
}

const withFiles = (parameters: readonly string[]): string[] =>
  parameters.map((text) => (text.startsWith('@') ? join(directory, text.slice(1)) : text));

const RUN = ['run', '--json', ...SHORT_KEY, ...REFERENCE];
const good = (...more: string[]): string[] => [
  ...[...RUN, '--input', '@good.csv', '--window', '8'],
  ...more,
];
const input = (file: string): string[] => [...RUN, '--input', file, '--window', '9'];
const stream = (...more: string[]): string[] => [
  ...['gateway', 'stream', '--sp', '127.0.0.1:1', '--tls', '@tls', '--state', '@none'],
  ...more,
];

/** Those that a command finds by itself, before it begins anything. */
const refusals: readonly Case[] = [
  { name: 'no input', parameters: RUN, says: /^--input: is needed/ },
  { name: 'a directory', parameters: input('@a-directory'), says: /is a directory; name a file/ },
  {
    name: 'an empty file',
    parameters: input('@empty.csv'),
    says: /empty\.csv: is empty; it needs/,
  },
  { name: 'a header only', parameters: input('@header.csv'), says: /a header but no data rows/ },
  {
    name: 'too few complete rows',
    parameters: input('@short.csv'),
    says: /short\.csv has 8 complete rows of 9; a window of 9 needs at least 9/,
  },
  {
    name: 'fewer rows than the window by --limit',
    parameters: good('--limit', '7'),
    says: /good\.csv has 7 complete rows of 7; a window of 8 needs at least 8/,
  },
  { name: 'a surplus cell', parameters: input('@surplus.csv'), says: /csv: line 6: has 7 cells/ },
  { name: 'an open quote', parameters: input('@quote.csv'), says: /quote\.csv: .*line 5/ },
  {
    name: 'no such column',
    parameters: good('--channels', 'HR,TEMP'),
    says: /--channels: there is no channel "TEMP"; there are HR, PULSE, RESP, SpO2/,
  },
  {
    name: 'a column that the file lacks',
    parameters: good('--schema', '@wide.json', '--channels', 'C1'),
    says: /good\.csv: has no column "C1"; there are "Time \[s\]", "HR"/,
  },
  ...['5', '0', '4097', '8.5', 'sixty'].map((window) => ({
    name: `a window of ${window}`,
    parameters: good('--window', window),
    says: /--window: must be a whole number from 6 to 4096/,
  })),
  {
    name: 'both a quantile and a threshold',
    parameters: good('--quantile', '0.9', '--threshold', '11'),
    says: /--threshold: give either this or --quantile, not both/,
  },
  ...['0', '1', '1.5', 'high'].map((quantile) => ({
    name: `a quantile of ${quantile}`,
    parameters: good('--quantile', quantile),
    says: /--quantile: .*must lie strictly between 0 and 1, such as 0\.975/,
  })),
  ...['0', '-1', 'high', 'NaN'].map((threshold) => ({
    name: `a threshold of ${threshold}`,
    parameters: good(`--threshold=${threshold}`),
    says: /--threshold: .*must be a decimal number greater than 0, such as/,
  })),
  {
    name: 'a short key that was not asked for',
    parameters: ['run', '--input', '@good.csv', ...REFERENCE, '--key-bits', '1024'],
    says: /1024 bits is not secure: use at least 2048, or add --insecure-key-bits/,
  },
  {
    name: 'a key of an odd length',
    parameters: good('--key-bits', '1000'),
    says: /--key-bits: must be a multiple of 64/,
  },
  {
    name: 'a generator that is none',
    parameters: good('--generator', 'fast'),
    says: /--generator: must be one of .*residue/,
  },
  { name: 'a limit of 0', parameters: good('--limit', '0'), says: /--limit: must be .* from 1/ },
  {
    name: 'a baseline that is none',
    parameters: good('--baseline', 'moving'),
    says: /--baseline: must be one of fixed, rolling/,
  },
  {
    name: 'a suite that is none',
    parameters: good('--suite', 'paper'),
    says: /--suite: must be one of reference/,
  },
  {
    name: 'an output that is none',
    parameters: good('--output', 'alarm'),
    says: /--output: must be one of distance/,
  },
  {
    name: 'level output, which the reference suite has not',
    parameters: good('--output', 'level'),
    says: /--output: must be distance with the reference suite/,
  },
  {
    name: 'a schema that is not there',
    parameters: good('--schema', '@no.json'),
    says: /--schema: .*no\.json: no such file/,
  },
  {
    name: 'a schema file that holds none',
    parameters: good('--schema', '@not.yaml'),
    says: /--schema: .*not\.yaml is neither YAML nor JSON/,
  },
  { name: 'no recording to stream', parameters: stream(), says: /^--input is needed/ },
  {
    name: 'streaming for a patient who is not enrolled',
    parameters: stream('--input', '@good.csv'),
    says: /none holds no enrolled patient; run "duoveil gateway enrol" first/,
  },
  {
    name: 'enrolling without a digest to pin',
    parameters: ['gateway', 'enrol', '--sp', '127.0.0.1:1', '--tls', '@tls', '--state', '@none'],
    says: /^--parameters-digest is needed; it may also be set as DUOVEIL_GATEWAY_PARAMETERS_DIGEST/,
  },
];

/** Those for which the process itself, its output and its end, are looked at. */
const processes: readonly Case[] = [
  { name: 'no such file', parameters: input('@no.csv'), says: /no\.csv: there is no such file/ },
  {
    name: 'a noise floor of 0',
    parameters: good('--schema', '@floor.json'),
    says: /floor\.json: channels\[0\]\.noiseFloor of HR must be greater than 0: a constant channel/,
  },
  {
    name: 'a schema that does not fit the modulus',
    parameters: [...input('@wide.csv'), '--schema', '@wide.json', '--window', '20'],
    says: /8 channels .* do not fit a modulus of 512 bits; what would fit: a modulus of at least \d+/,
  },
  {
    name: 'an option that is none',
    parameters: good('--windows', '8'),
    says: /unknown option '--windows' \(Did you mean --window\?\); --help lists/,
  },
  { name: 'an argument too many', parameters: good('8'), says: /too many arguments/ },
  {
    name: 'an unknown subcommand',
    parameters: ['ruin'],
    says: /unknown command 'ruin' .*; --help lists/,
  },
  {
    name: 'csp init over a state that is there',
    parameters: ['csp', 'init', '--state', '@used', '--passphrase-file', '@good.csv'],
    says: /--state: .*is there already: choose another directory/,
  },
  {
    name: 'csp serve without certificates',
    parameters: [
      ...['csp', 'serve', '--tls', '@a-directory', '--state', '@used'],
      ...['--passphrase-file', '@good.csv'],
    ],
    says: /tls\.ca: .*ca\.crt: no such file/,
  },
  {
    name: 'sp serve with a digest that is none',
    parameters: [
      ...['sp', 'serve', '--tls', '@tls', '--csp', '127.0.0.1:1', '--database', '@x.db'],
      ...['--parameters-digest', 'abc'],
    ],
    says: /--parameters-digest must be the 64 hexadecimal digits that/,
  },
  {
    name: 'sp serve with an unknown setting in its file',
    parameters: ['sp', 'serve', '--config', '@floor.json'],
    says: /floor\.json: channels: no such setting; there are listen/,
  },
  {
    name: 'ca issue to a role that is none',
    parameters: ['ca', 'issue', '--dir', '@used', '--out', '@tls', '--role', 'doctor'],
    says: /--role: .*expected one of .*gateway/,
  },
];

describe('a wrong option or input is refused before anything is begun:', () => {
  test.each(refusals)('$name', async ({ parameters, says }) => {
    const written = [process.stdout, process.stderr].map((out) =>
      vi.spyOn(out, 'write').mockReturnValue(true),
    );
    const program = new Command().addCommand(runCommand()).addCommand(gatewayCommand());
    const error: unknown = await program
      .exitOverride()
      .parseAsync(withFiles(parameters), { from: 'user' })
      .catch((thrown: unknown) => thrown);
    for (const spy of written) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
    if (!isDuoveilError(error)) throw error;
    expect(error.message).toMatch(says);
    expect(error.message).not.toMatch(/\n|80,80/);
    expect(exitStatus(error)).toBe(2);
  });
});

describe('a wrong option or input is told in one line, and nothing else, with status 2:', () => {
  const outcomes = new Map<Case, Outcome>();

  beforeAll(async () => {
    const waiting = [...processes];
    const work = async (): Promise<void> => {
      for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
        outcomes.set(one, await duoveil(withFiles(one.parameters)));
      }
    };
    await Promise.all([work(), work()]);
  });

  test.each(processes)('$name', (one) => {
    const { code, output, log } = outcomes.get(one) ?? { code: 0, output: [], log: [] };
    expect(log).toEqual([expect.stringMatching(/^duoveil: .+ \[[A-Z_]+\]$/)]);
    expect(log[0]).toMatch(one.says);
    // No stack.
    expect(log[0]).not.toMatch(/\bat .*:\d+:\d+|\.[jt]s:/);
    expect(output).toEqual([]);
    expect(code).toBe(2);
  });
});

describe('a reading that is wrong', () => {
  test('is skipped with the reason, and never repeated', async () => {
    const file = join(scratch(), 'bad-cells.csv');
    const bad = {
      2: '2,eighty-two,80,16,97',
      3: '3,NaN,80,16,97',
      5: '5,80,,16,97',
      7: '7,80,80,16',
      9: '9,80,80,16,130.75',
      10: '10,1e40,80,16,97',
      11: '11,19.99,80,121,97',
      12: '12,null,80,-0.01,97',
    };
    writeFileSync(file, lines(20, bad));
    const { code, output, log } = await duoveil([...RUN, '--input', file, '--window', '8']);
    expect(code).toBe(0);
    const { rows, summary } = readResults(output);
    const skipped = rows.flatMap((row) => ('skipped' in row ? [[row.index, row.skipped]] : []));
    expect(Object.fromEntries(skipped)).toEqual({
      2: 'HR is not a number',
      3: 'HR is missing',
      5: 'PULSE is missing',
      7: 'SpO2 is missing',
      9: 'SpO2 is out of range [30, 100]',
      10: 'HR is out of range [20, 300]',
      11: 'HR is out of range [20, 300]; RESP is out of range [0, 120]',
      12: 'HR is missing; RESP is out of range [0, 120]',
    });
    expect(summary).toMatchObject({ rows: 20, skipped: 8, scored: 4 });
    expect([...output, ...log].join('\n')).not.toMatch(/eighty|130\.75|1e40|19\.99|0\.01/);
  });
});
