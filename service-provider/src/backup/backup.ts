import type { Clock } from '@duoveil/common/runtime';
import { duoveilError } from '@duoveil/common/errors';
import { sql } from 'kysely';

import type { Connection } from '../store/database.js';
import { LAYOUT } from '../store/migrations.js';
import { readStore, type StoreLocation } from '../store/index.js';
import { writeBackup, type RowLine } from './file.js';
import { BACKUP_TABLES, encodeHeader, encodeRow } from './format.js';
import type { BackupTable, Counts } from './format.js';

/** Rows that are read at once. */
const PAGE = 256;

/**
 * Write everything that a store held at one moment into a file, while service providers may go on
 * with the store.
 * @returns how many rows of each table
 * @throws DuoveilError `OPTION_INVALID`, `STORAGE_FAILED`, `STORAGE_FULL`, `STORAGE_UNAVAILABLE`
 */
export async function backUp(location: StoreLocation, file: string, clock: Clock): Promise<Counts> {
  const source = await readStore(location);
  let counts: Counts = {};
  try {
    await source.snapshot(async (connection) => {
      const takenAt = clock.now().toISOString();
      const header = encodeHeader({ parameters: await parametersOf(connection), takenAt });
      counts = await writeBackup(file, header, rowsOf(connection));
    });
  } finally {
    await source.close();
  }
  return counts;
}

async function parametersOf(connection: Connection): Promise<string> {
  const { rows } = await sql<{
    name: string;
  }>`select name from kysely_migration order by name desc limit 1`.execute(connection);
  const layout = rows[0]?.name;
  if (layout !== LAYOUT) {
    throw duoveilError(
      'STORAGE_FAILED',
      `the store has the layout ${layout ?? 'of no version'}, this version has ${LAYOUT}: back it up ` +
        'with the version that its service provider runs',
    );
  }
  const row = await connection.selectFrom('parameters').select('digest').executeTakeFirst();
  if (row !== undefined) return row.digest;
  throw duoveilError('STORAGE_FAILED', 'the store is empty: no service provider has used it yet');
}

async function* rowsOf(connection: Connection): AsyncGenerator<RowLine, void> {
  for (const table of BACKUP_TABLES) {
    let after: readonly unknown[] | undefined;
    for (;;) {
      const page = await pageOf(connection, table, after);
      for (const row of page) yield { table: table.name, line: encodeRow(table, row) };
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      after = table.key.map((name) => last[name]);
    }
  }
}

async function pageOf(
  connection: Connection,
  { name, columns, key }: BackupTable,
  after: readonly unknown[] | undefined,
): Promise<Readonly<Record<string, unknown>>[]> {
  const order = sql.join(key.map((one) => sql.ref(one)));
  const beyond = after === undefined ? sql`` : sql`where (${order}) > (${sql.join(after)})`;
  const { rows } = await sql<Readonly<Record<string, unknown>>>`
    select ${sql.join(columns.map((column) => sql.ref(column.name)))} from ${sql.table(name)}
    ${beyond} order by ${order} limit ${sql.lit(PAGE)}
  `.execute(connection);
  return rows;
}
