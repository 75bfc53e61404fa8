/**
 * Settings from four layers: flag, then environment (`DUOVEIL_…`), then a YAML file, then the
 * schema's default. One zod object states names, forms and defaults; its keys give the names in
 * every layer: `tls.certificate` is `--tls-certificate`, `DUOVEIL_TLS_CERTIFICATE`, and
 * `tls: {certificate: …}`.
 *
 * A secret ({@link secretSetting}) has two sources only: the environment, and a file of its own that
 * the setting `<key>File` names.
 */
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { duoveilError } from '../errors.js';
import type { DuoveilError } from '../errors.js';
import { Secret } from '../secret.js';
import { firstIssue, readSettingFile } from './files.js';
import { readSecretSetting } from './secret-setting.js';

/** Where settings come from. */
export interface SettingsSources<S extends z.ZodObject> {
  readonly schema: S;
  /** As commander's `opts()` gives them: keys in camel case, undefined where not given. */
  readonly flags?: Readonly<Record<string, unknown>>;
  /** The process's own by default. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Path of a YAML file. */
  readonly file?: string | undefined;
}

const secretSchemas = new WeakSet<z.ZodType>();

/**
 * In a settings schema: a secret, read from a file or the environment, never from a flag.
 * @param description for the list of flags
 */
export function secretSetting(description = ''): z.ZodType<Secret<string>> {
  const schema = z
    .custom<Secret<string>>((value) => value instanceof Secret, 'is needed')
    .describe(description);
  secretSchemas.add(schema);
  return schema;
}

/** One setting: where it stands in the schema, and its name in each layer. */
interface Leaf {
  readonly path: readonly string[];
  readonly key: string;
  readonly schema: z.ZodType;
  readonly secret: boolean;
}

/** A value found in a layer, and the layer's own name for it. */
interface Found {
  readonly value: unknown;
  readonly from: string;
  readonly inFile: boolean;
}

/**
 * Reads and checks the settings of a programme.
 * @throws OPTION_INVALID for a flag or variable, CONFIG_INVALID for the file: which key, in which
 * layer, and what would be right
 */
export async function resolveSettings<S extends z.ZodObject>(
  sources: SettingsSources<S>,
): Promise<z.output<S>> {
  const { schema, flags = {}, environment = process.env, file } = sources;
  const leaves = leavesOf(schema, []);
  const content = file === undefined ? {} : await readYaml(file, leaves);
  const result: Record<string, unknown> = {};
  for (const leaf of leaves) {
    const value = leaf.secret
      ? await resolveSecret(leaf, flags, environment, content, file)
      : checked(leaf, find(leaf, flags, environment, content, file));
    if (value !== undefined) setIn(result, leaf.path, value);
  }
  // Each leaf is checked already; this is for rules that span several.
  const whole = schema.safeParse(result);
  if (whole.success) return whole.data;
  const issue = firstIssue(whole.error);
  throw duoveilError(
    'CONFIG_INVALID',
    `settings: ${issue.path === '' ? '' : `${issue.path}: `}${issue.message}`,
    { path: issue.path },
  );
}

/** How a setting appears on the command line, in commander's notation. */
export interface SettingFlag {
  /** For example `--listen <value>`; without a value for a switch. */
  readonly flags: string;
  /** The schema's description, with the environment variable. */
  readonly description: string;
}

/** The flags of all settings in a schema, in its order; of a secret, the flag of its file. */
export function settingFlags(schema: z.ZodObject): SettingFlag[] {
  return leavesOf(schema, []).map(({ path, schema: leaf, secret }) => {
    const isSwitch = unwrapped(leaf) instanceof z.ZodBoolean;
    const flag = flagName(path);
    return {
      flags: secret ? `${flag}-file <file>` : isSwitch ? flag : `${flag} <value>`,
      description: `${leaf.description ?? ''} [${variableName(path)}]`.trim(),
    };
  });
}

/** The flag of a setting: `['tls', 'caFile']` gives `--tls-ca-file`. */
export function flagName(path: readonly string[]): string {
  return `--${words(path).join('-')}`;
}

/** The environment variable of a setting: `['tls', 'caFile']` gives `DUOVEIL_TLS_CA_FILE`. */
export function variableName(path: readonly string[]): string {
  return `DUOVEIL_${words(path).join('_').toUpperCase()}`;
}

function words(path: readonly string[]): string[] {
  return path.flatMap((part) => part.split(/(?=[A-Z])/)).map((word) => word.toLowerCase());
}

/** What commander calls the flag of a setting: `tlsCaFile`. */
function flagKey(path: readonly string[]): string {
  const [first = '', ...others] = words(path);
  return first + others.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

/** A schema without what says that it may be left out. */
function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodReadonly
  ) {
    return unwrapped(schema.unwrap());
  }
  return schema instanceof z.ZodPipe ? unwrapped(schema.in) : schema;
}

function leavesOf(schema: z.ZodObject, above: readonly string[]): Leaf[] {
  return Object.entries(schema.shape as Record<string, z.ZodType>).flatMap(([name, inner]) => {
    const path = [...above, name];
    const core = unwrapped(inner);
    if (core instanceof z.ZodObject) return leavesOf(core, path);
    const secret = core instanceof z.ZodType && secretSchemas.has(core);
    return [{ path, key: path.join('.'), schema: inner, secret }];
  });
}

async function readYaml(file: string, leaves: readonly Leaf[]): Promise<Record<string, unknown>> {
  const text = (await readSettingFile(file, 'config')).toString('utf8');
  let content: unknown;
  try {
    content = parseYaml(text) ?? {};
  } catch (error) {
    const line = hasLine(error) ? ` at line ${error.linePos[0].line}` : '';
    throw duoveilError('CONFIG_INVALID', `${file}: not YAML${line}`, { path: 'config' });
  }
  if (!isRecord(content)) {
    throw duoveilError('CONFIG_INVALID', `${file}: must be a mapping of settings`, {
      path: 'config',
    });
  }
  refuseUnknownKeys(content, leaves, [], file);
  return content;
}

function hasLine(error: unknown): error is { readonly linePos: readonly [{ line: number }] } {
  return error instanceof Error && 'linePos' in error && Array.isArray(error.linePos);
}

function refuseUnknownKeys(
  content: Readonly<Record<string, unknown>>,
  leaves: readonly Leaf[],
  above: readonly string[],
  file: string,
): void {
  const known = new Set(
    leaves
      .filter(({ path }) => above.every((part, at) => path[at] === part))
      .flatMap(({ path, secret }) => {
        const name = path[above.length];
        if (name === undefined) return [];
        return secret && path.length === above.length + 1 ? [`${name}File`] : [name];
      }),
  );
  for (const [name, value] of Object.entries(content)) {
    const path = [...above, name];
    const key = path.join('.');
    if (!known.has(name)) {
      const why = leaves.some((leaf) => leaf.secret && leaf.key === key)
        ? `a secret does not stand here; name a file that holds it with ${key}File`
        : `no such setting; there are ${[...known].join(', ')}`;
      throw duoveilError('CONFIG_INVALID', `${file}: ${key}: ${why}`, { path: key });
    }
    if (leaves.some((leaf) => leaf.key === key || (leaf.secret && `${leaf.key}File` === key))) {
      continue;
    }
    if (!isRecord(value)) {
      throw duoveilError('CONFIG_INVALID', `${file}: ${key}: must be a mapping of settings`, {
        path: key,
      });
    }
    refuseUnknownKeys(value, leaves, path, file);
  }
}

function find(
  leaf: Pick<Leaf, 'path' | 'key'>,
  flags: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
  content: Readonly<Record<string, unknown>>,
  file: string | undefined,
): Found | undefined {
  const flag = flags[flagKey(leaf.path)];
  if (flag !== undefined) return { value: flag, from: flagName(leaf.path), inFile: false };
  const name = variableName(leaf.path);
  const variable = environment[name];
  if (variable !== undefined && variable !== '') {
    return { value: variable, from: name, inFile: false };
  }
  const inFile = getIn(content, leaf.path);
  return inFile === undefined || inFile === null
    ? undefined
    : { value: inFile, from: `${file ?? ''}: ${leaf.key}`, inFile: true };
}

function checked(leaf: Leaf, found: Found | undefined): unknown {
  const value =
    typeof found?.value === 'string' && !found.inFile
      ? fromText(found.value, unwrapped(leaf.schema))
      : found?.value;
  const result = leaf.schema.safeParse(value);
  if (result.success) {
    // A value that the schema transforms is left for the schema of the whole to transform, once.
    return found === undefined ? undefined : value;
  }
  if (found === undefined) throw missing(leaf);
  throw invalid(leaf, found, firstIssue(result.error));
}

function missing({ path, key }: Leaf): DuoveilError {
  const flag = flagName(path);
  return duoveilError(
    'OPTION_INVALID',
    `${flag} is needed; it may also be set as ${variableName(path)}, or as ${key} in the file`,
    { option: flag },
  );
}

function invalid(
  { key }: Leaf,
  { from, inFile }: Found,
  issue: { path: string; message: string },
): DuoveilError {
  const message = `${from}: ${issue.path === '' ? '' : `${issue.path}: `}${issue.message}`;
  return inFile
    ? duoveilError('CONFIG_INVALID', message, { path: key })
    : duoveilError('OPTION_INVALID', message, { option: from });
}

/** A flag's or variable's text as what the schema wants; unchanged where it does not fit, for the schema to say so. */
function fromText(text: string, schema: z.core.$ZodType): unknown {
  if (schema instanceof z.ZodNumber) {
    return /^\s*$/.test(text) ? text : numberOr(text);
  }
  if (schema instanceof z.ZodBoolean) {
    return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : text;
  }
  if (schema instanceof z.ZodArray) {
    const { element } = schema;
    return text.split(',').map((item) => fromText(item.trim(), unwrapped(element)));
  }
  return text;
}

function numberOr(text: string): number | string {
  const value = Number(text);
  return Number.isFinite(value) ? value : text;
}

async function resolveSecret(
  leaf: Leaf,
  flags: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
  content: Readonly<Record<string, unknown>>,
  file: string | undefined,
): Promise<Secret<string> | undefined> {
  if (flags[flagKey(leaf.path)] !== undefined) {
    const flag = flagName(leaf.path);
    throw duoveilError(
      'OPTION_INVALID',
      `${flag}: a secret is never given by a flag, where other users of the machine can see it; ` +
        `use ${flag}-file or ${variableName(leaf.path)}`,
      { option: flag },
    );
  }
  const filePath = [...leaf.path.slice(0, -1), `${leaf.path.at(-1) ?? ''}File`];
  const fileSetting = { path: filePath, key: filePath.join('.') };
  const found = find(fileSetting, flags, environment, content, file);
  if (found !== undefined && typeof found.value !== 'string') {
    throw duoveilError('CONFIG_INVALID', `${found.from}: must be the path of a file`, {
      path: fileSetting.key,
    });
  }
  const secret = await readSecretSetting({
    setting: leaf.key,
    file: found?.value as string | undefined,
    env: variableName(leaf.path),
    environment,
  });
  if (secret === undefined && !leaf.schema.safeParse(undefined).success) {
    throw duoveilError(
      'OPTION_INVALID',
      `${leaf.key} is needed: set ${flagName(filePath)} or ${variableName(leaf.path)}`,
      { option: flagName(filePath) },
    );
  }
  return secret;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function getIn(content: unknown, path: readonly string[]): unknown {
  let value = content;
  for (const part of path) {
    if (!isRecord(value) || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  return value;
}

function setIn(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [first = '', ...others] = path;
  if (others.length === 0) {
    target[first] = value;
    return;
  }
  const inner = isRecord(target[first]) ? target[first] : {};
  target[first] = inner;
  setIn(inner, others, value);
}
