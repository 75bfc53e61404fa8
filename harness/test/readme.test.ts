/** What the documents tell to type is there: commands, their options, npm's scripts; so is what they link to. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

import { cspCommand } from '@duoveil/csp/cli';
import { gatewayCommand } from '@duoveil/gateway/cli';
import { spCommand } from '@duoveil/service-provider/cli';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';

import { benchCommand } from '../../bench/src/cli.js';
import { caCommand } from '../../cli/src/ca.js';
import { operatorCommand } from '../../cli/src/operator.js';
import { demoCommand, runCommand } from '../src/run/cli.js';
import { allDocuments, anchors, codeSpans, fencedBlocks, readDocument, root } from './documents.js';

const program = new Command('duoveil').version('');
for (const command of [
  runCommand(),
  demoCommand(),
  cspCommand(),
  spCommand(),
  gatewayCommand(),
  caCommand(),
  operatorCommand(),
  benchCommand(),
]) {
  program.addCommand(command);
}

const documents = allDocuments();

describe.each(documents)('$path', (document) => {
  const lines = [
    ...fencedBlocks(document, 'sh').flatMap(commandsIn),
    ...codeSpans(document).flatMap(commandsIn),
  ];

  test('names commands and options that exist', () => {
    expect(lines.flatMap(({ words }) => problems(words))).toEqual([]);
  });

  test('names scripts that exist', () => {
    const missing = lines
      .filter(({ npm }) => npm !== undefined && !existsScript(npm.script, npm.workspace))
      .map(({ text }) => text);
    expect(missing).toEqual([]);
  });

  test('links to what is there', () => {
    expect(brokenLinks(document.path, document.text)).toEqual([]);
  });
});

describe('the README', () => {
  const readme = readDocument('README.md');

  test('shows every command that a trial needs', () => {
    const shown = fencedBlocks(readme, 'sh')
      .flatMap(commandsIn)
      .map(({ words }) => words.slice(0, 2).join(' '));
    for (const command of ['ca init', 'ca issue', 'csp init', 'csp serve', 'sp serve']) {
      expect(shown).toContain(command);
    }
    for (const command of ['gateway enrol', 'gateway stream']) expect(shown).toContain(command);
  });

  test('has every option of `duoveil run`', () => {
    const listed = [...readme.text.matchAll(/^\| `(--[a-z-]+)/gm)].map(([, option]) => option);
    const options = runCommand().options.map(({ long }) => long);
    expect(listed.sort()).toEqual(options.sort());
  });
});

test('a command or an option that does not exist is found', () => {
  const found = (line: string) => commandsIn(line).flatMap(({ words }) => problems(words));
  expect(found('npx duoveil gateway stream --sp a:1 --state "$X" --input FILE.csv')).toEqual([]);
  expect(found('npm run demo -- --input FILE.csv > out &')).toEqual([]);
  expect(found('npx duoveil gateway strem')).not.toEqual([]);
  expect(found('duoveil csp serve --listn 1')).not.toEqual([]);
  expect(found('npx duoveil sp serve \\\n  --database --csp b:1')).not.toEqual([]);
  expect(found('npx duoveil run FILE.csv')).not.toEqual([]);
});

interface Typed {
  readonly text: string;
  /** What follows `duoveil`; empty for another command. */
  readonly words: readonly string[];
  readonly npm: { readonly script: string; readonly workspace: string | undefined } | undefined;
}

/** The commands of ours, and npm's scripts, in a piece of shell. */
function commandsIn(shell: string): Typed[] {
  return shell
    .replace(/\\\n/g, ' ')
    .replace(/(^|\s)#.*$/gm, '')
    .replace(/\d?>\s*\S+/g, '')
    .split(/\n|\||&&|&|;/)
    .flatMap((text): Typed[] => {
      const words: readonly string[] = text.match(/"[^"]*"|\S+/g) ?? [];
      const at = words[0] === 'npx' ? 1 : 0;
      if (words[at] === 'duoveil') return [{ text, words: words.slice(at + 1), npm: undefined }];
      if (words[0] !== 'npm' || !['run', 'test'].includes(words[1] ?? '')) return [];
      const script = words[1] === 'test' ? 'test' : (words[2] ?? '');
      const workspace = words[words.indexOf('--workspace') + 1];
      const npm = { script, workspace: words.includes('--workspace') ? workspace : undefined };
      const passed = words.includes('--') ? words.slice(words.indexOf('--') + 1) : [];
      return [{ text, words: script === 'demo' ? ['demo', ...passed] : [], npm }];
    });
}

/** What is wrong with a command of ours. */
function problems(words: readonly string[]): string[] {
  let command = program;
  let rest = [...words];
  while (rest[0] !== undefined && command.commands.length > 0 && !rest[0].startsWith('-')) {
    const next = command.commands.find((one) => one.name() === rest[0]);
    if (next === undefined) return [`${words.join(' ')}: there is no ${rest[0]}`];
    command = next;
    rest = rest.slice(1);
  }
  const found: string[] = [];
  while (rest.length > 0) {
    const [word = ''] = rest.splice(0, 1);
    const option = command.options.find(({ long }) => long === word);
    if (word === '--help') continue;
    if (option === undefined) found.push(`${words.join(' ')}: ${word} is not expected`);
    else if (option.required && (rest.splice(0, 1)[0] ?? '--').startsWith('--')) {
      found.push(`${words.join(' ')}: ${word} needs a value`);
    }
  }
  return found;
}

function existsScript(script: string, workspace: string | undefined): boolean {
  const directory = workspace === undefined ? '.' : workspace.replace('@duoveil/', '');
  const file = join(root, directory, 'package.json');
  const { scripts = {} } = JSON.parse(readFileSync(file, 'utf8')) as {
    scripts?: Record<string, string>;
  };
  return script === 'ci' || Object.hasOwn(scripts, script);
}

function brokenLinks(path: string, text: string): string[] {
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link ?? '');
  return links.filter((link) => {
    if (/^https?:/.test(link)) return false;
    const [target = '', anchor] = link.split('#');
    const file = target === '' ? path : normalize(join(dirname(path), target));
    if (!existsSync(join(root, file))) return true;
    return anchor !== undefined && !anchors(readDocument(file)).has(anchor);
  });
}
