/** A gateway's first step: look at what it was given, and write down its settings and where its things go. */
import { stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

import { parseParametersDigest } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import type { RandomSource } from '@duoveil/common/random';
import {
  credentialFiles,
  LiveTls,
  parseAddress,
  readSettingFile,
  storageError,
  systemErrorCode,
  writeFileAtomic,
} from '@duoveil/common/runtime';
import type { Logger, PatientId } from '@duoveil/common/runtime';

import { lookAtSource } from './first-rows.js';
import type { FirstRows } from './first-rows.js';
import { parseChannelOptions } from './monitoring-options.js';
import type { ChannelValues } from './monitoring-options.js';
import { requirePatient } from './party.js';
import { sealingSecret } from './sealing-secret.js';
import { settingsFile } from './settings-file.js';
import type { SourceSettings } from './sources/index.js';
import { isThere, makeDirectory } from './state-files.js';
import { readState } from './state.js';

/** What a gateway is given; of the source and the channels, what is known. */
export interface InitOptions extends SourceSettings, ChannelValues {
  /** Where the service provider listens, `host:port`. */
  readonly sp: string;
  /** Directory with `ca.crt`, `tls.crt` and `tls.key`. */
  readonly tls: string;
  /** The state directory; made if need be. */
  readonly state: string;
  /** Digest of the only parameters to accept, in hexadecimal. */
  readonly parametersDigest: string;
  /** One of three: a file with a passphrase, a file with a key, or where to write a new key. */
  readonly passphraseFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly generateKeyFile?: string | undefined;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/** What was made. */
export interface Initialised {
  /** As the certificate names it. */
  readonly patient: PatientId;
  /** The settings file. */
  readonly settings: string;
  /** Of the recording that will be streamed, where one was named. */
  readonly firstRows: FirstRows | undefined;
}

/**
 * Checks a gateway's certificate, files, addresses and source, makes its state directory and writes its settings.
 * Nothing is written unless everything is right, and nothing that is there is overwritten.
 * @throws CONFIG_INVALID, OPTION_INVALID, SCHEMA_INVALID, INPUT_INVALID: what is wrong, and what would
 * be right; STORAGE_FULL, STORAGE_FAILED
 */
export async function initialise(options: InitOptions): Promise<Initialised> {
  parseAddress(options.sp, '--sp');
  parseParametersDigest(options.parametersDigest, '--parameters-digest');
  const patient = await patientOf(options);
  await requirePrivate(credentialFiles(options.tls).key, '--tls', OTHERS);
  const state = resolve(options.state);
  await requirePrivate(state, '--state', EVERYBODY_ELSE);
  await requireNobodyElses(state, patient);
  const settings = join(state, 'gateway.yaml');
  await requireNew(settings, '--state');
  const sealing = await checkedSealing(options);
  const firstRows = await lookAtSource(options, await parseChannelOptions(options));
  await makeDirectory(state);
  if (options.generateKeyFile !== undefined) await generateKeyFile(options, sealing.file);
  await writeFileAtomic(settings, settingsFile({ ...options, state, patient, sealing }));
  return { patient, settings, firstRows };
}

/** What seals the patient's keys, by its setting and file. */
export interface SealingFile {
  readonly setting: 'passphraseFile' | 'keyFile';
  /** An absolute path. */
  readonly file: string;
}

/** Permission bits of everybody but the owner; of everybody but owner and group. */
const EVERYBODY_ELSE = 0o077;
const OTHERS = 0o007;

async function patientOf({ tls, logger }: InitOptions): Promise<PatientId> {
  const live = await LiveTls.open({ directory: tls, role: 'gateway', logger, reloadMs: 0 });
  live.close();
  return live.identity.patient;
}

async function checkedSealing(options: InitOptions): Promise<SealingFile> {
  const { passphraseFile, keyFile, generateKeyFile: newKeyFile } = options;
  const given = [passphraseFile, keyFile, newKeyFile].filter((file) => file !== undefined);
  const [file] = given;
  if (file === undefined || given.length > 1) {
    throw duoveilError(
      'OPTION_INVALID',
      `one secret seals the patient's keys, not ${given.length === 0 ? 'none' : 'several'}: give ` +
        '--generate-key-file, --key-file or --passphrase-file',
      { option: '--generate-key-file' },
    );
  }
  if (newKeyFile !== undefined) {
    await requireNew(newKeyFile, '--generate-key-file');
    return { setting: 'keyFile', file: resolve(newKeyFile) };
  }
  const setting = keyFile === undefined ? 'passphraseFile' : 'keyFile';
  const option = keyFile === undefined ? '--passphrase-file' : '--key-file';
  await requirePrivate(file, option, EVERYBODY_ELSE);
  if (keyFile !== undefined) await sealingSecret({ keyFile });
  else await readSettingFile(file, option);
  return { setting, file: resolve(file) };
}

async function generateKeyFile({ random }: InitOptions, file: string): Promise<void> {
  await makeDirectory(dirname(file));
  const key = Buffer.from(random.bytes(32));
  await writeFileAtomic(file, `${key.toString('hex')}\n`);
  key.fill(0);
}

/** A directory or file that holds secrets is its owner's; what is not there yet will be. */
async function requirePrivate(path: string, option: string, forbidden: number): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw storageError(error, `cannot look at ${path}`);
  });
  if (found === undefined || (found.mode & forbidden) === 0) return;
  const right = (found.mode & 0o777 & ~forbidden).toString(8).padStart(4, '0');
  throw duoveilError(
    'CONFIG_INVALID',
    `${option}: ${path} can be used by others than its owner; make it private: chmod ${right} ${path}`,
    { path: option },
  );
}

async function requireNobodyElses(state: string, patient: PatientId): Promise<void> {
  const known = await readState(state);
  if (known !== undefined) requirePatient(known.patient, patient, state);
}

async function requireNew(path: string, option: string): Promise<void> {
  if (!(await isThere(path))) return;
  throw duoveilError(
    'CONFIG_INVALID',
    `${option}: ${path} is there already and is not overwritten; remove it, or choose another place`,
    { path: option },
  );
}
