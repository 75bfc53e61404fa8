import { duoveilError } from '@duoveil/common/errors';
import { sql } from 'kysely';

import { inTransaction, type Connection } from '../store/database.js';
import { storing } from '../store/failures.js';
import { openDatabase, type StoreLocation } from '../store/index.js';
import { readBackup } from './file.js';
import { BACKUP_TABLES, invalid } from './format.js';
import type { BackupHeader, BackupRow, BackupTable, Counts, Value } from './format.js';

/** Rows that are written at once. */
const BATCH = 128;

/**
 * Put a backup into an empty store: all of it, or nothing.
 * @param expected digest of the parameters that it must be under; undefined for any
 * @returns how many rows of each table
 * @throws DuoveilError `INPUT_INVALID` where the backup is torn, changed or of another version,
 * `PARAMETERS_MISMATCH`; `OPTION_INVALID` where the store is not empty; and as the store does
 */
export async function restore(
  file: string,
  location: StoreLocation,
  expected?: string,
): Promise<Counts> {
  const onHeader = ({ parameters }: BackupHeader): void => {
    if (expected === undefined || parameters === expected) return;
    throw duoveilError(
      'PARAMETERS_MISMATCH',
      `${file}: holds ciphertexts under the parameters ${parameters}: use the CSP that has them, or another backup`,
      { expected },
    );
  };
  // All of it is looked at before the store is touched.
  let digest: string | undefined;
  let of: string | undefined;
  await readBackup(
    file,
    (header) => {
      onHeader(header);
      of = header.parameters;
    },
    ({ table, values }) => {
      if (table.name === 'parameters') digest = String(valueOf(table, values, 'digest'));
    },
  );
  if (digest !== of) throw invalid(file, 'says that it is under other parameters than it is');

  const database = await openDatabase(location);
  let counts: Counts = {};
  try {
    await storing(() =>
      inTransaction(database.db, async (transaction) => {
        await requireEmpty(transaction);
        const inserting = new Inserting(transaction);
        counts = await readBackup(file, onHeader, (row) => inserting.add(row));
        await inserting.flush();
      }),
    );
  } finally {
    await database.close();
  }
  return counts;
}

function valueOf(table: BackupTable, values: readonly Value[], column: string): Value | undefined {
  return values[table.columns.findIndex(({ name }) => name === column)];
}

async function requireEmpty(connection: Connection): Promise<void> {
  for (const { name } of BACKUP_TABLES) {
    const { rows } = await sql`select 1 from ${sql.table(name)} limit 1`.execute(connection);
    if (rows.length === 0) continue;
    throw duoveilError(
      'OPTION_INVALID',
      'the store is not empty: restore into a new file with --database, or into a new database ' +
        'with --database-url',
      { option: '--database' },
    );
  }
}

/** Writes rows of the same table together. */
class Inserting {
  readonly #connection: Connection;
  #table: BackupTable | undefined;
  #rows: (readonly Value[])[] = [];

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async add({ table, values }: BackupRow): Promise<void> {
    if (table !== this.#table || this.#rows.length >= BATCH) await this.flush();
    this.#table = table;
    this.#rows.push(values);
  }

  async flush(): Promise<void> {
    if (this.#table === undefined || this.#rows.length === 0) return;
    const { name, columns } = this.#table;
    const rows = this.#rows.map((values) => sql`(${sql.join(values)})`);
    await sql`
      insert into ${sql.table(name)} (${sql.join(columns.map((one) => sql.ref(one.name)))})
      values ${sql.join(rows)}
    `.execute(this.#connection);
    this.#rows = [];
  }
}
