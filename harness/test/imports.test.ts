/** Who may import whom: the import graph of all source files, walked transitively. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const packages = [
  'proto',
  'common',
  'csp',
  'service-provider',
  'gateway',
  'dashboard',
  'harness',
  'bench',
  'cli',
].filter((name) => existsSync(join(root, name, 'src')));

interface Rule {
  readonly name: string;
  /** Path prefixes, relative to the root. */
  readonly from: readonly string[];
  readonly never: readonly string[];
  /** Whether what is reached through other files counts too. */
  readonly transitive: boolean;
}

const services = ['csp/', 'service-provider/', 'gateway/'];
const parties = ['proto/', 'common/', ...services];

const rules: readonly Rule[] = [
  {
    name: 'proto imports nothing of ours',
    from: ['proto/'],
    never: ['common/', ...services, 'harness/', 'bench/', 'cli/'],
    transitive: true,
  },
  {
    name: 'common imports nothing of ours',
    from: ['common/'],
    never: ['proto/', ...services, 'harness/', 'bench/', 'cli/'],
    transitive: true,
  },
  ...services.map((service) => ({
    name: `${service} imports no other service`,
    from: [service],
    never: services.filter((other) => other !== service),
    transitive: true,
  })),
  {
    name: "the master key is the CSP's alone",
    from: ['service-provider/', 'gateway/'],
    never: ['common/src/master/'],
    transitive: true,
  },
  {
    name: 'protocols are pure',
    from: ['common/src/protocols/'],
    never: ['proto/', 'common/src/runtime/', ...services],
    transitive: true,
  },
  {
    name: 'protocols do not reach the master key',
    from: ['common/src/protocols/'],
    never: ['common/src/master/'],
    transitive: true,
  },
  // It runs in a browser: the service provider has its files, and nobody has its code.
  {
    name: 'the dashboard has nothing of ours but the types of the HTTP API',
    from: ['dashboard/'],
    never: [...parties, 'harness/', 'bench/', 'cli/'].map((party) => `${party}src/`),
    transitive: true,
  },
  {
    name: 'nothing imports the dashboard',
    from: [...parties, 'harness/', 'bench/', 'cli/'],
    never: ['dashboard/'],
    transitive: true,
  },
  // The executable alone joins the parties, the harness and the benchmarks, each loaded by name.
  {
    name: 'nothing imports harness or bench',
    from: parties,
    never: ['harness/', 'bench/', 'cli/'],
    transitive: true,
  },
  {
    name: 'nothing imports the executable',
    from: ['harness/', 'bench/'],
    never: ['cli/'],
    transitive: true,
  },
];

describe('the import graph', () => {
  const graph = readGraph();

  test('is that of all packages', () => {
    expect(graph.size).toBeGreaterThan(100);
    expect(graph.get('service-provider/src/serve.ts')).toContain('service-provider/src/config.ts');
    expect(graph.get('dashboard/src/main.tsx')).toContain('dashboard/src/app.tsx');
    expect(graph.get('csp/src/serve.ts')).toContain('common/src/master/index.ts');
  });

  test.each(rules)('$name', (rule) => {
    expect(breaches(graph, rule)).toEqual([]);
  });

  test('a breach is found, also through another file', () => {
    const broken = new Map(graph);
    broken.set('common/src/bcp/index.ts', [
      ...(graph.get('common/src/bcp/index.ts') ?? []),
      'common/src/master/index.ts',
    ]);
    const rule = rules.find(({ name }) => name.startsWith('the master key'));
    expect(rule && breaches(broken, rule)).not.toEqual([]);
  });
});

function breaches(graph: ReadonlyMap<string, readonly string[]>, rule: Rule): string[] {
  const starts = [...graph.keys()].filter((file) => rule.from.some((dir) => file.startsWith(dir)));
  return starts.flatMap((start) =>
    [...reached(graph, start)]
      .filter((file) => rule.never.some((dir) => file.startsWith(dir)))
      .map((file) => `${start} reaches ${file}`),
  );
}

function reached(graph: ReadonlyMap<string, readonly string[]>, start: string): Set<string> {
  const seen = new Set<string>();
  const queue = [start];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    for (const next of graph.get(file) ?? []) {
      if (!seen.has(next)) {
        seen.add(next);
        queue.push(next);
      }
    }
  }
  return seen;
}

/** Imports of every source file that is not a test, type imports included. */
function readGraph(): Map<string, string[]> {
  const graph = new Map<string, string[]>();
  for (const name of packages) {
    for (const file of sourceFiles(join(root, name, 'src'))) {
      const text = readFileSync(file, 'utf8');
      const specifiers = [...text.matchAll(/(?:from|import|resolve\()\s*\(?\s*'([^']+)'/g)].flatMap(
        ([, specifier]) => specifier ?? [],
      );
      graph.set(
        relative(root, file),
        specifiers.flatMap((specifier) => target(specifier, file) ?? []),
      );
    }
  }
  return graph;
}

function sourceFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name) && !name.endsWith('.test.ts'))
    .map((name) => join(directory, name));
}

/** The file that an import of ours names, relative to the root; undefined for what is not ours. */
function target(specifier: string, from: string): string | undefined {
  if (specifier.startsWith('.')) {
    const file = resolve(dirname(from), specifier.replace(/\.js$/, '.ts'));
    return relative(root, !existsSync(file) && existsSync(`${file}x`) ? `${file}x` : file);
  }
  const [, name, subpath = ''] = /^@duoveil\/([^/]+)(\/.*)?$/.exec(specifier) ?? [];
  if (name === undefined) return undefined;
  const manifest = JSON.parse(readFileSync(join(root, name, 'package.json'), 'utf8')) as {
    exports: Record<string, { default: string }>;
  };
  const entry = manifest.exports[`.${subpath}`];
  if (entry === undefined) throw new Error(`${from}: ${specifier} is not exported`);
  return join(name, entry.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts'));
}
