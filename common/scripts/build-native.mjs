/**
 * Builds the native arithmetic (`common/native`) where there is a C compiler, as `npm ci` runs.
 *
 * Nothing depends on its success: without the addon duoveil uses its portable arithmetic, which is
 * slower and otherwise the same. So this says one line about what it could not do and exits with 0.
 * `DUOVEIL_NO_NATIVE=1` skips it; `CC` and `CFLAGS` are honoured.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, realpathSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const script = fileURLToPath(import.meta.url);
const root = dirname(dirname(script));
const sourceDirectory = join(root, 'native');
const buildDirectory = join(root, 'build');
const output = join(buildDirectory, 'duoveil_native.node');

/** A reason for going on without the addon. */
class Unavailable extends Error {}

/** The directory with `node_api.h` and `openssl/` that belongs to this very node. */
function findHeaders() {
  const roots = [
    process.env.npm_config_nodedir,
    process.config.variables.nodedir,
    dirname(dirname(process.execPath)),
    dirname(dirname(realpathSync(process.execPath))),
  ].filter(Boolean);
  // A source tree of node keeps the headers elsewhere than an installation does.
  const directories = roots.flatMap((prefix) => [
    [join(prefix, 'include', 'node')],
    [join(prefix, 'src'), join(prefix, 'deps', 'openssl', 'openssl', 'include')],
  ]);
  const found = directories.find(([api]) => existsSync(join(api, 'node_api.h')));
  if (found === undefined) throw new Unavailable('the headers of Node.js are not installed');
  return found;
}

/** The first C compiler that answers; `CC` may carry arguments. */
async function findCompiler() {
  const configured = process.env.CC?.trim().split(/\s+/);
  const candidates = configured?.[0] ? [configured] : [['cc'], ['gcc'], ['clang']];
  for (const command of candidates) {
    try {
      await run(command[0], [...command.slice(1), '--version']);
      return command;
    } catch {
      // Try the next one.
    }
  }
  throw new Unavailable('there is no C compiler');
}

function compilerFlags(headers) {
  const flags = ['-std=c11', '-O2', '-fPIC', '-fvisibility=hidden', '-fstack-protector-strong'];
  flags.push('-Wall', '-Wextra', '-Wshadow', '-Wconversion', '-Wstrict-prototypes');
  flags.push('-Werror=implicit-function-declaration', '-Werror=incompatible-pointer-types');
  flags.push('-Werror=int-conversion', '-Werror=return-type', '-DNAPI_VERSION=8');
  flags.push(...headers.flatMap((directory) => ['-isystem', directory]));
  flags.push(...(process.env.CFLAGS?.trim().split(/\s+/).filter(Boolean) ?? []));
  // OpenSSL's functions are in the node executable. On Linux they are all bound when the addon is
  // loaded, so that a node without them is found out here and not in the middle of a protocol.
  const linking =
    process.platform === 'darwin'
      ? ['-bundle', '-undefined', 'dynamic_lookup']
      : ['-shared', '-Wl,-z,relro,-z,now'];
  return [...flags, ...linking];
}

/** Newer than its sources, and for this machine. */
async function isUpToDate(inputs) {
  try {
    const built = (await stat(output)).mtimeMs;
    const times = await Promise.all(inputs.map(async (path) => (await stat(path)).mtimeMs));
    if (!times.every((time) => time < built)) return false;
    createRequire(import.meta.url)(output);
    return true;
  } catch {
    return false;
  }
}

async function compile(sources, target) {
  const compiler = await findCompiler();
  const args = [...compilerFlags(findHeaders()), ...sources, '-o', target];
  try {
    await run(compiler[0], [...compiler.slice(1), ...args]);
  } catch (error) {
    const firstError = String(error.stderr ?? error.message).match(/.*error.*/)?.[0];
    throw new Unavailable(`it does not compile (${firstError ?? 'no reason given'})`);
  }
}

/** In a process of its own, as a bad build may well take its process down. */
async function tryOut(target) {
  try {
    await run(process.execPath, [script, '--check', target], { timeout: 60_000 });
  } catch {
    throw new Unavailable('the build does not give the right answers here');
  }
}

/** The child's part: known answers, and the same number by different ways. */
async function check(target) {
  const addon = createRequire(import.meta.url)(target);
  const expectEqual = (actual, expected) => {
    if (String(actual) !== String(expected)) throw new Error('wrong answer');
  };

  const small = addon.createRing(1_000_003n, true);
  expectEqual(addon.multiply(small, 999_999n, 123_456n), (999_999n * 123_456n) % 1_000_003n);
  expectEqual(await addon.powers(small, [2n], [100n], true, 1), 2n ** 100n % 1_000_003n);
  expectEqual(await addon.jacobi([2n, 3n, 0n], 7n, 1), [1, -1, 0]);

  // RFC 3526's 2048-bit prime p: by Fermat, x^(p-1) = 1; x^(p-2) is x's inverse.
  const digits =
    'ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd' +
    'ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed' +
    'ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f' +
    '83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b' +
    'e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510' +
    '15728e5a8aacaa68ffffffffffffffff';
  const p = BigInt(`0x${digits}`);
  const x = BigInt(`0x${createHash('sha512').update('duoveil').digest('hex')}`);
  for (const maySplit of [true, false]) {
    // The order of the group modulo p², which has an arithmetic of its own, is p times as large.
    await checkRing(addon, addon.createRing(p, maySplit), p, p - 1n, x, expectEqual);
    await checkRing(addon, addon.createRing(p * p, maySplit), p * p, p * (p - 1n), x, expectEqual);
  }
}

async function checkRing(addon, ring, modulus, order, x, expectEqual) {
  const comb = await addon.buildComb(ring, [x], 4096);
  const [inverse] = await addon.inverses(ring, [x], 1);
  expectEqual((inverse * x) % modulus, 1n);
  expectEqual(addon.multiply(ring, inverse, x), 1n);
  expectEqual(await addon.products(ring, [inverse, x, x], [3], 1), x);
  const toInverse = order - 1n;
  for (const secret of [false, true]) {
    expectEqual(await addon.powers(ring, [x, x], [order, toInverse], secret, 2), [1n, inverse]);
    const split = await addon.multiPowers(ring, [x, x], [toInverse - 1n, 1n], [2], secret, 1);
    expectEqual(split, inverse);
    expectEqual(await addon.combPowers(comb, [toInverse], secret, 1), inverse);
  }
}

async function build() {
  const names = await readdir(sourceDirectory);
  const paths = names.map((name) => join(sourceDirectory, name));
  if (await isUpToDate([...paths, script])) return;

  await mkdir(buildDirectory, { recursive: true });
  // Built aside and renamed: a running process keeps the old file, and two builds do not mix.
  const scratch = await mkdtemp(join(buildDirectory, 'native-'));
  try {
    const target = join(scratch, 'duoveil_native.node');
    await compile(
      paths.filter((path) => path.endsWith('.c')),
      target,
    );
    await tryOut(target);
    await rename(target, output);
  } catch (error) {
    // What is left of an earlier build is older than the sources.
    await rm(output, { force: true });
    throw error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function main() {
  if (process.argv[2] === '--check') return check(process.argv[3]);
  if (process.env.DUOVEIL_NO_NATIVE === '1') return;
  try {
    if (process.platform === 'win32') throw new Unavailable('it is not built on Windows');
    await build();
  } catch (error) {
    console.log(`duoveil: no native arithmetic, the portable one will do: ${error.message}`);
  }
}

await main();
