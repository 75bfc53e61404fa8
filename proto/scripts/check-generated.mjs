/**
 * Fails if the committed output in `src/gen` is not what `buf generate` makes of the `.proto` files
 * now, and lists the files that differ. Works offline; changes nothing in the tree.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Every file below a directory: path relative to it, to its content. */
function filesBelow(directory) {
  const paths = readdirSync(directory, { recursive: true })
    .map(String)
    .filter((path) => statSync(join(directory, path)).isFile());
  return new Map(paths.map((path) => [path, readFileSync(join(directory, path), 'utf8')]));
}

/** Number of the first line at which two texts differ, from 1. */
function firstDifference(left, right) {
  const [a, b] = [left.split('\n'), right.split('\n')];
  const index = a.findIndex((line, at) => line !== b[at]);
  return (index === -1 ? a.length : index) + 1;
}

const scratch = mkdtempSync(join(tmpdir(), 'duoveil-proto-'));
try {
  execFileSync(join(root, '../node_modules/.bin/buf'), ['generate', '--output', scratch], {
    cwd: root,
    stdio: 'inherit',
  });
  const committed = filesBelow(join(root, 'src/gen'));
  const fresh = filesBelow(join(scratch, 'src/gen'));
  const stale = [...new Set([...committed.keys(), ...fresh.keys()])].sort().flatMap((path) => {
    const [before, after] = [committed.get(path), fresh.get(path)];
    if (before === after) return [];
    if (before === undefined) return [`  src/gen/${path}: missing`];
    if (after === undefined) return [`  src/gen/${path}: no .proto file makes it`];
    return [`  src/gen/${path}: differs from line ${firstDifference(before, after)} on`];
  });
  if (stale.length > 0) {
    console.error('The generated code is stale:');
    console.error(stale.join('\n'));
    console.error('Run `npm run generate --workspace @duoveil/proto` and commit the result.');
    process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
