/** The documents' tables agree with the code: settings, error codes, roles, dependencies. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { metrics, roles } from '@duoveil/common/runtime';
import { cspCommand } from '@duoveil/csp/cli';
import {
  cspAuditSettings,
  cspCustodySettings,
  cspInitSettings,
  cspReplicateSettings,
  cspRetireSettings,
  cspSettings,
  cspUnsealSettings,
} from '../../csp/src/config.js';
import { gatewayCommand } from '@duoveil/gateway/cli';
import { spCommand } from '@duoveil/service-provider/cli';
import {
  spBackupSettings,
  spRestoreSettings,
  spSettings,
} from '../../service-provider/src/config.js';
import type { ErrorCode } from '@duoveil/common/errors';
import { defaultLimits } from '../../service-provider/src/http/environment.js';
import { httpStatus } from '../../service-provider/src/http/problem.js';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import type { z } from 'zod';

import { caCommand } from '../../cli/src/ca.js';
import { operatorCommand } from '../../cli/src/operator.js';
import { PERMISSIONS } from '../src/parties/permissions.js';
import { readDocument, root, section, tableRows } from './documents.js';

const source = (path: string): string => readFileSync(join(root, path), 'utf8');

describe('docs/configuration.md', () => {
  const document = readDocument('docs/configuration.md');

  test.each<
    [
      heading: string,
      group: () => Command,
      name: string,
      schema: z.ZodObject<Record<string, z.ZodType>>,
    ]
  >([
    ['`duoveil csp init`', cspCommand, 'init', cspInitSettings],
    ['`duoveil csp serve`', cspCommand, 'serve', cspSettings],
    ['`duoveil csp unseal`', cspCommand, 'unseal', cspUnsealSettings],
    ['`duoveil csp status`, `seal` and `rotate`', cspCommand, 'status', cspCustodySettings],
    ['`duoveil csp status`, `seal` and `rotate`', cspCommand, 'seal', cspCustodySettings],
    ['`duoveil csp status`, `seal` and `rotate`', cspCommand, 'rotate', cspCustodySettings],
    ['`duoveil csp retire`', cspCommand, 'retire', cspRetireSettings],
    ['`duoveil csp replicate`', cspCommand, 'replicate', cspReplicateSettings],
    ['`duoveil csp audit`', cspCommand, 'audit', cspAuditSettings],
    ['`duoveil sp serve`', spCommand, 'serve', spSettings],
    ['`duoveil sp backup`', spCommand, 'backup', spBackupSettings],
    ['`duoveil sp restore`', spCommand, 'restore', spRestoreSettings],
  ])(
    'has the settings of %s, their variables, keys and defaults',
    (heading, group, name, schema) => {
      const rows = tableRows(section(document, heading));
      const documented = rows.map(([flag, variable, key, given]) => [flag, variable, key, given]);
      const options = optionsOf(subcommand(group(), name));
      const expected = options.map(({ flag, variable }, i) => {
        const [key = '', setting] = Object.entries(schema.shape)[i] ?? [];
        const secret = flag.endsWith('-file') && !key.endsWith('File');
        return [flag, variable, secret ? `${key}File` : key, defaultOf(setting)];
      });
      expect(documented).toEqual(expected);
    },
  );

  test.each<[heading: string, group: () => Command, prefix: string]>([
    ['`duoveil gateway`', gatewayCommand, 'DUOVEIL_GATEWAY_'],
    ['`duoveil ca`', caCommand, 'DUOVEIL_'],
    ['`duoveil operator`', operatorCommand, 'DUOVEIL_'],
  ])('has the settings of %s and the commands that they are for', (heading, group, prefix) => {
    const documented = Object.fromEntries(
      tableRows(section(document, heading)).map(([flag = '', variable, key, , commands]) => [
        flag,
        { variable, key, commands: commands?.split(', ').sort() },
      ]),
    );
    const expected: Record<string, { variable: string; key: string; commands: string[] }> = {};
    for (const command of group().commands) {
      for (const { flag } of optionsOf(command)) {
        const words = flag.slice(2).split('-');
        const isSecret = ['--passphrase-file', '--mqtt-password-file'].includes(flag);
        const variable =
          prefix +
          words
            .slice(0, isSecret ? -1 : undefined)
            .join('_')
            .toUpperCase();
        const [first = '', ...others] = words;
        const key =
          first + others.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
        expected[flag] ??= { variable, key, commands: [] };
        expected[flag].commands.push(command.name());
        expected[flag].commands.sort();
      }
    }
    expect(documented).toEqual(expected);
  });
});

describe('docs/identities.md', () => {
  const document = readDocument('docs/identities.md');
  const rows = tableRows(section(document, 'Who may call what'));

  test('says of every call and every role whether it is allowed', () => {
    const documented = rows.map(
      ([service = '', method = '', at = '', ...allowed]) =>
        `${at} ${service}/${method}: ${allowed.join(' ')}`,
    );
    expect(documented.sort()).toEqual(permittedCalls().sort());
  });

  test('has the roles in the order of its columns', () => {
    const head = section(document, 'Who may call what')
      .split('\n')
      .find((line) => line.startsWith('| service'));
    expect(head?.split('|').map((cell) => cell.trim())).toEqual([
      ...['', 'service', 'method', 'at'],
      ...roles,
      '',
    ]);
  });

  test('has every method of the wire contract', () => {
    const documented = new Set(rows.map(([service = '', name = '']) => `${service}/${name}`));
    const directory = join(root, 'proto/duoveil/v1');
    const methods = readdirSync(directory).flatMap((file) =>
      methodsIn(source(`proto/duoveil/v1/${file}`)),
    );
    expect(methods.length).toBeGreaterThan(15);
    expect(methods.filter((method) => !documented.has(method))).toEqual([]);
  });
});

test('docs/operating.md lists every instrument, with its unit and labels', () => {
  const documented = tableRows(section(readDocument('docs/operating.md'), 'Metrics'));
  expect(documented.map(([name, kind, unit, labels]) => [name, kind, unit, labels])).toEqual(
    Object.values(metrics).map(({ about, kind }) => [
      ...[about.name, kind, about.unit, about.labels.join(', ')],
    ]),
  );
});

describe('docs/operators-api.md', () => {
  const document = readDocument('docs/operators-api.md');

  test('has every call of the description, and who may make it', () => {
    const { paths } = JSON.parse(source('service-provider/gen/openapi.json')) as {
      paths: Record<string, Record<string, { description: string }>>;
    };
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { description }]) => {
        const route = path.replace('/api/v1', '').replace(/\{(\w+)\}/g, ':$1');
        const role = /role (\w+)/.exec(description)?.[1] ?? 'anyone';
        return `${method.toUpperCase()} ${route}: ${role}`;
      }),
    );
    const rows = tableRows(section(document, 'Calls'));
    const documented = rows.map(([call = '', role = '']) => `${call}: ${role}`);
    expect(documented.sort()).toEqual([...described, 'GET /openapi.json: anyone'].sort());
  });

  test('has the status of every code that has one', () => {
    const [, codes = ''] =
      /interface ErrorDetails \{([\s\S]*?)\n\}/.exec(source('common/src/errors.ts')) ?? [];
    const known = [...codes.matchAll(/^ {2}([A-Z_]+):/gm)].map(([, code]) => code as ErrorCode);
    const rows = tableRows(section(document, 'What is wrong'));
    const documented = rows.flatMap(([status, named = '']) =>
      named
        .replace(/:.*/, '')
        .split(', ')
        .map((code) => `${code} ${status ?? ''}`),
    );
    const expected = known.filter((code) => httpStatus({ code }) !== 500);
    expect(documented.sort()).toEqual(
      [...expected.map((code) => `${code} ${httpStatus({ code })}`), 'INTERNAL 500'].sort(),
    );
  });

  test('has the bounds in force', () => {
    const bounds = new Map(
      tableRows(section(document, 'Bounds')).map(([what, bound]) => [what, bound]),
    );
    const { requestsPerMinute, signInsPerMinute, bodyBytes, answerMs } = defaultLimits;
    expect(bounds.get('requests of one address')).toMatch(`${requestsPerMinute} a minute`);
    expect(bounds.get('attempts to sign in of one address')).toBe(`${signInsPerMinute} a minute`);
    expect(bounds.get('body')).toBe(`${bodyBytes / 1024} KiB`);
    expect(bounds.get('a request coming in, an answer')).toBe(`10 s, ${answerMs / 1000} s`);
  });
});

describe('docs/errors.md', () => {
  const rows = tableRows(readDocument('docs/errors.md').text);

  test('lists every code, in the order of the source', () => {
    const [, body = ''] =
      /interface ErrorDetails \{([\s\S]*?)\n\}/.exec(source('common/src/errors.ts')) ?? [];
    const codes = [...body.matchAll(/^ {2}([A-Z_]+):/gm)].map(([, code]) => code);
    expect(codes.length).toBeGreaterThan(20);
    expect(rows.map(([code]) => code)).toEqual(codes);
  });

  test('has the gRPC status of each', () => {
    const statuses = new Map(
      [
        ...source('common/src/runtime/status.ts').matchAll(/^ {2}([A-Z_]+): Status\.([A-Z_]+),/gm),
      ].map(([, code, status]) => [code, status]),
    );
    expect(rows.map(([code, , status]) => [code, status])).toEqual(
      rows.map(([code]) => [code, statuses.get(code)]),
    );
  });

  test('marks exit status 2', () => {
    const [, cases = ''] =
      /switch \(error\.code\) \{([\s\S]*?)return 2;/.exec(source('common/src/errors.ts')) ?? [];
    const expected = [...cases.matchAll(/case '([A-Z_]+)'/g)].map(([, code]) => code);
    const marked = rows
      .filter(([, meaning]) => meaning?.includes('exit status 2'))
      .map(([code]) => code);
    expect(marked).toEqual(expected);
  });
});

test('docs/dependencies.md lists every direct dependency, its version, licence and users', () => {
  const documented = tableRows(readDocument('docs/dependencies.md').text).map((cells) =>
    cells.slice(0, 4).join(' | '),
  );
  expect(documented.sort()).toEqual(dependencies().sort());
});

/** A command's options but for help and the file of settings. */
function optionsOf({ options }: Command): { flag: string; variable: string }[] {
  return options
    .filter(({ long }) => long !== '--config')
    .map(({ long, description }) => ({
      flag: long ?? '',
      variable: /\[(\w+)\]$/.exec(description)?.[1] ?? '',
    }));
}

function subcommand({ commands }: Command, name: string): Command {
  const found = commands.find((command) => command.name() === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}

/** As the table writes it: `needed` without one, nothing where it may be left out. */
function defaultOf(setting: z.ZodType | undefined): string {
  const result = setting?.safeParse(undefined);
  if (result?.success !== true) return 'needed';
  const { data } = result;
  return typeof data === 'string' ? data : data === undefined ? '' : JSON.stringify(data);
}

/** `at service/Method: yes no ..` of everything that is served, for each role. */
function permittedCalls(): string[] {
  return Object.entries(PERMISSIONS).flatMap(([server, calls]) =>
    Object.entries<readonly string[]>(calls).map(([path, allowed]) => {
      const call = path.slice(1).replace(/^duoveil\.v1\./, '');
      const cells = roles.map((role) => (allowed.includes(role) ? 'yes' : 'no'));
      return `${server.toUpperCase()} ${call}: ${cells.join(' ')}`;
    }),
  );
}

function methodsIn(proto: string): string[] {
  return proto
    .split(/^service /m)
    .slice(1)
    .flatMap((part) => {
      const [body = ''] = part.split(/^\}/m);
      const service = /^\w+/.exec(body)?.[0] ?? '';
      return [...body.matchAll(/rpc (\w+)\(/g)].map(([, method]) => `${service}/${method ?? ''}`);
    });
}

interface Manifest {
  readonly version: string;
  readonly license: string;
  readonly workspaces?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

function dependencies(): string[] {
  const manifest = (path: string) => JSON.parse(source(join(path, 'package.json'))) as Manifest;
  const users = new Map<string, string[]>();
  for (const workspace of ['.', ...(manifest('.').workspaces ?? [])]) {
    const { dependencies: atRunTime, devDependencies } = manifest(workspace);
    for (const [name, version] of Object.entries({ ...atRunTime, ...devDependencies })) {
      if (name.startsWith('@duoveil/')) continue;
      const key = `${name} | ${version}`;
      users.set(key, [...(users.get(key) ?? []), workspace === '.' ? 'the root' : workspace]);
    }
  }
  return [...users].map(([key, workspaces]) => {
    const { license } = manifest(join('node_modules', key.split(' ')[0] ?? ''));
    return `${key} | ${license.replace(/^\((.*)\)$/, '$1')} | ${workspaces.join(', ')}`;
  });
}
