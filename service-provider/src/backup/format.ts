/**
 * What is in a backup: lines of JSON. A header; then the rows of each table, an array for each, the
 * table's name first; then the number of rows, and the SHA-256 of all lines before.
 *
 * Values are as they are in the database: what is sealed there is sealed here. The leases are left
 * out: they belong to processes.
 */
import { duoveilError } from '@duoveil/common/errors';
import { z } from 'zod';

import { bytesOf } from '../store/blobs.js';
import { LAYOUT } from '../store/migrations.js';
import type { Tables } from '../store/tables.js';

/** The form of a backup; a change to what is below makes a new one. */
const VERSION = 1;
const FORMAT = 'duoveil-sp-backup';

type ColumnKind = 'text' | 'text or null' | 'integer' | 'bytes' | 'bytes or null';

/** A table that is backed up. */
export interface BackupTable {
  readonly name: TableName;
  readonly columns: readonly { readonly name: string; readonly kind: ColumnKind }[];
  /** The columns that tell its rows apart: rows are read in their order. */
  readonly key: readonly string[];
}

type TableName = Exclude<keyof Tables, 'leases'>;

/** A value of a row. */
export type Value = string | number | Uint8Array | null;

/** Every column of every table but the leases, in an order in which references are to what is before. */
const COLUMNS: {
  readonly [T in TableName]: { readonly [C in keyof Tables[T]]: ColumnKind };
} = {
  parameters: {
    id: 'integer',
    digest: 'text',
    family: 'text',
    modulus: 'bytes',
    generator: 'bytes',
  },
  store_key: { id: 'integer', sealed_check: 'bytes' },
  patients: {
    id: 'text',
    public_key: 'bytes',
    commitment: 'bytes',
    response: 'bytes',
    schema: 'text',
    policy: 'text',
    enrolled_at: 'text',
  },
  samples: {
    patient: 'text',
    sequence: 'integer',
    digest: 'bytes',
    ciphertexts: 'bytes or null',
    received_at: 'text',
    measured_at: 'text or null',
  },
  models: {
    patient: 'text',
    number: 'integer',
    sealed_notice: 'bytes',
    sealed_content: 'bytes',
    trained_at: 'text',
  },
  decisions: {
    patient: 'text',
    sequence: 'integer',
    sealed_outcome: 'bytes',
    decided_at: 'text',
  },
  alarm_books: { patient: 'text', revision: 'integer', sealed_book: 'bytes' },
};

const KEYS: { readonly [T in TableName]: readonly (keyof Tables[T] & string)[] } = {
  parameters: ['id'],
  store_key: ['id'],
  patients: ['id'],
  samples: ['patient', 'sequence'],
  models: ['patient', 'number'],
  decisions: ['patient', 'sequence'],
  alarm_books: ['patient'],
};

/** The tables in the order in which they are written and read. */
export const BACKUP_TABLES: readonly BackupTable[] = (Object.keys(COLUMNS) as TableName[]).map(
  (name) => ({
    name,
    columns: Object.entries(COLUMNS[name]).map(([column, kind]) => ({ name: column, kind })),
    key: KEYS[name],
  }),
);

/** What a backup says of itself. */
export interface BackupHeader {
  /** Digest of the parameters that everything is encrypted under. */
  readonly parameters: string;
  /** When it was begun, as ISO 8601. */
  readonly takenAt: string;
}

const whoseSchema = z.object({ format: z.literal(FORMAT), version: z.int() });
const headerSchema = z.strictObject({
  ...whoseSchema.shape,
  layout: z.string(),
  parameters: z.string(),
  takenAt: z.string(),
});

/** The first line. */
export function encodeHeader({ parameters, takenAt }: BackupHeader): string {
  const header: z.input<typeof headerSchema> = {
    format: FORMAT,
    version: VERSION,
    layout: LAYOUT,
    parameters,
    takenAt,
  };
  return JSON.stringify(header);
}

/**
 * The inverse of {@link encodeHeader}.
 * @throws DuoveilError `INPUT_INVALID` where it is no backup, or of another version
 */
export function decodeHeader(line: string, file: string): BackupHeader {
  const content = json(line, file);
  const whose = whoseSchema.safeParse(content);
  if (!whose.success) throw invalid(file, 'is no backup of a service provider');
  const { version } = whose.data;
  if (version !== VERSION) {
    throw invalid(file, `is of the form ${String(version)}; this version reads ${String(VERSION)}`);
  }
  const header = headerSchema.safeParse(content);
  if (!header.success) throw invalid(file, 'has a damaged header');
  const { layout, parameters, takenAt } = header.data;
  if (layout !== LAYOUT) {
    throw invalid(
      file,
      `is of a store with the layout ${layout}, this version has ${LAYOUT}: restore it with the ` +
        'version that it was made with',
    );
  }
  return { parameters, takenAt };
}

/** Rows of each table. */
export type Counts = Readonly<Record<string, number>>;

const endSchema = z.strictObject({
  rows: z.record(z.string(), z.int()),
  sha256: z.string(),
});

/** What the last line says. */
export type BackupEnd = z.output<typeof endSchema>;

/** The last line. */
export function encodeEnd(end: BackupEnd): string {
  return JSON.stringify(end);
}

/**
 * The inverse of {@link encodeEnd}.
 * @throws DuoveilError `INPUT_INVALID`
 */
export function decodeEnd(line: string, file: string): BackupEnd {
  const end = endSchema.safeParse(json(line, file));
  if (!end.success) throw invalid(file, 'has a damaged end');
  return end.data;
}

/** A row, its values in the order of the columns and as the driver gives them. */
export function encodeRow(table: BackupTable, row: Readonly<Record<string, unknown>>): string {
  return JSON.stringify([
    table.name,
    ...table.columns.map(({ name }) => {
      const value = row[name];
      return value instanceof ArrayBuffer || value instanceof Uint8Array
        ? Buffer.from(bytesOf(value)).toString('base64')
        : value;
    }),
  ]);
}

/** A row of a backup: its table, and its values in the order of the columns. */
export interface BackupRow {
  readonly table: BackupTable;
  readonly values: readonly Value[];
}

/**
 * The inverse of {@link encodeRow}.
 * @throws DuoveilError `INPUT_INVALID` where it has not the form of its table
 */
export function decodeRow(line: string, file: string): BackupRow {
  const content = z.array(z.unknown()).safeParse(json(line, file)).data ?? [];
  const [name, ...values] = content;
  const table = BACKUP_TABLES.find((one) => one.name === name);
  if (table?.columns.length !== values.length) throw invalid(file, 'has a row of no table');
  return {
    table,
    values: table.columns.map(({ kind, name: column }, i) => {
      const value = decodeValue(kind, values[i]);
      if (value === undefined) throw invalid(file, `has a wrong ${table.name}.${column}`);
      return value;
    }),
  };
}

function decodeValue(kind: ColumnKind, value: unknown): Value | undefined {
  switch (kind) {
    case 'integer':
      return Number.isSafeInteger(value) ? (value as number) : undefined;
    case 'text':
      return typeof value === 'string' ? value : undefined;
    case 'text or null':
      return value === null ? null : decodeValue('text', value);
    case 'bytes or null':
      return value === null ? null : decodeValue('bytes', value);
    case 'bytes': {
      if (typeof value !== 'string') return undefined;
      const bytes = Buffer.from(value, 'base64');
      return bytes.toString('base64') === value ? bytes : undefined;
    }
  }
}

function json(line: string, file: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw invalid(file, 'has a line that is not JSON');
  }
}

/** The error for a file that cannot be restored. */
export function invalid(file: string, what: string, cause?: unknown): Error {
  return duoveilError(
    'INPUT_INVALID',
    `${file}: ${what}; nothing was restored`,
    { source: file },
    { cause },
  );
}
