import { z } from 'zod';

import { duoveilError } from '@duoveil/common/errors';
import { secretSetting, serverSettings } from '@duoveil/common/runtime';

import type { AlarmPolicy } from './alarms/alarm.js';
import {
  DEFAULT_ALARM_RULES,
  MAX_RULES,
  MAX_RULE_SAMPLES,
  parseAlarmRules,
} from './alarms/policy.js';
import { httpSettings } from './http/settings.js';
import { webhookSettings } from './outlets/settings.js';
import { keepStoreKey, parsePostgresUrl, parseStoreKey } from './store/index.js';
import type { StoreLocation, StoreOptions } from './store/index.js';

/** Where the store is. */
const whereSettings = {
  /** The store's file, for one service provider alone. */
  database: z
    .string()
    .min(1)
    .optional()
    .describe('file of the embedded database; made if it is not there'),
  /** A store that several service providers may share. */
  databaseUrl: z
    .string()
    .min(1)
    .optional()
    .describe('PostgreSQL in place of the file: postgres://user@host:port/database'),
  databasePassword: secretSetting('file of the password for PostgreSQL').optional(),
};

const rulesMessage =
  `must be rules level:count/of, such as ${DEFAULT_ALARM_RULES}: at most ${String(MAX_RULES)} ` +
  `ascending levels, count at most of, of at most ${String(MAX_RULE_SAMPLES)}`;

const seconds = (from: number, fallback: number, description: string) =>
  z.number().min(from).max(604_800).default(fallback).describe(description);

/** When alarms are raised. */
const alarmSettings = {
  alarmRules: z
    .string()
    .refine((text) => parseAlarmRules(text) !== undefined, rulesMessage)
    .default(DEFAULT_ALARM_RULES)
    .describe('raise an alarm when count of the last samples have a level: level:count/of,…'),
  escalateAfter: seconds(
    1,
    300,
    'an alarm that is active and unacknowledged for so long escalates, in seconds',
  ),
  gapAfter: seconds(1, 30, 'a longer time between two samples is a gap, in seconds'),
  silentAfter: seconds(1, 60, 'without a sample for so long a device is silent, in seconds'),
  rebaselineAfter: z
    .int()
    .min(1)
    .max(10_000_000)
    .optional()
    .describe('learn anew once a level alarm has been active for so many samples; never without'),
};

/** Settings of the service provider: by flag, environment (`DUOVEIL_…`) or YAML file. */
export const spSettings = z.strictObject({
  ...serverSettings,
  /** Address of the crypto service provider; of replicas, the first that serves is used. */
  csp: z
    .string()
    .min(1)
    .describe('host:port of the crypto service provider; of its replicas, separated by commas'),
  /** Digest of the public parameters, as `duoveil csp init` printed it. */
  parametersDigest: z.string().min(1).describe('digest of the parameters, from "duoveil csp init"'),
  /** Distances say more than levels: they are learnt only where somebody decided so. */
  allowDistance: z
    .boolean()
    .default(false)
    .describe('accept patients with distance output or the reference suite'),
  ...whereSettings,
  /** Seals what the database must not tell. */
  storeKey: secretSetting('file of the key that seals decisions and models').optional(),
  leaseMs: z
    .int()
    .min(300)
    .max(60_000)
    .default(2_000)
    .describe('how long a patient stays with a service provider that is gone, in milliseconds'),
  ...alarmSettings,
  ...webhookSettings,
  ...httpSettings,
});

/** Settings of `duoveil sp backup`. */
export const spBackupSettings = z.strictObject({
  ...whereSettings,
  out: z.string().min(1).describe('file to write the backup to; must not be there yet'),
});

/** Settings of `duoveil sp restore`. */
export const spRestoreSettings = z.strictObject({
  in: z.string().min(1).describe('file of the backup'),
  ...whereSettings,
  parametersDigest: spSettings.shape.parametersDigest
    .optional()
    .describe('refuse a backup that is under other parameters than these'),
});

export type SpSettings = z.output<typeof spSettings>;

/** When alarms are raised. */
export function alarmPolicyOf(settings: SpSettings): AlarmPolicy {
  return {
    levels: parseAlarmRules(settings.alarmRules) ?? [],
    escalateAfterMs: settings.escalateAfter * 1000,
    gapAfterMs: settings.gapAfter * 1000,
    silentAfterMs: settings.silentAfter * 1000,
    rebaselineAfter: settings.rebaselineAfter,
  };
}

/**
 * Where the store is, and what seals it. An embedded database that was given no key keeps one of its
 * own beside it.
 * @throws DuoveilError `OPTION_INVALID`, `CONFIG_INVALID`, `UNSEALING_FAILED`, `STORAGE_FAILED`
 */
export async function storeSettings(
  settings: SpSettings,
): Promise<Pick<StoreOptions, 'location' | 'key' | 'leaseMs'>> {
  const { storeKey, leaseMs } = settings;
  const location = storeLocation(settings);
  const given = storeKey && parseStoreKey(storeKey, 'storeKey');
  if (location.kind === 'file') {
    return { location, key: given ?? (await keepStoreKey(location.file)), leaseMs };
  }
  if (given === undefined) {
    throw duoveilError(
      'OPTION_INVALID',
      'a store on PostgreSQL needs a store key, the same for all replicas: set --store-key-file or DUOVEIL_STORE_KEY',
      { option: '--store-key-file' },
    );
  }
  return { location, key: given, leaseMs };
}

/**
 * Where the store is.
 * @throws DuoveilError `OPTION_INVALID` where none or two are named, or the URL is wrong
 */
export function storeLocation(
  settings: Pick<SpSettings, 'database' | 'databaseUrl' | 'databasePassword'>,
): StoreLocation {
  const { database, databaseUrl, databasePassword } = settings;
  if (database !== undefined && databaseUrl === undefined) return { kind: 'file', file: database };
  if (database === undefined && databaseUrl !== undefined) {
    const address = { ...parsePostgresUrl(databaseUrl), password: databasePassword };
    return { kind: 'postgres', address };
  }
  throw duoveilError(
    'OPTION_INVALID',
    `one store is needed, not ${database === undefined ? 'none' : 'two'}: set --database or --database-url`,
    { option: '--database' },
  );
}
