import { sql, type Kysely, type Migration, type MigrationProvider } from 'kysely';

// Types that both databases know: SQLite takes bytes as they are, whatever a column is declared as.
const first: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('parameters')
      .addColumn('id', 'integer', (column) => column.primaryKey())
      .addColumn('digest', 'text', (column) => column.notNull())
      .addColumn('family', 'text', (column) => column.notNull())
      .addColumn('modulus', 'bytea', (column) => column.notNull())
      .addColumn('generator', 'bytea', (column) => column.notNull())
      .execute();
    await db.schema
      .createTable('store_key')
      .addColumn('id', 'integer', (column) => column.primaryKey())
      .addColumn('sealed_check', 'bytea', (column) => column.notNull())
      .execute();
    await db.schema
      .createTable('patients')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('public_key', 'bytea', (column) => column.notNull())
      .addColumn('commitment', 'bytea', (column) => column.notNull())
      .addColumn('response', 'bytea', (column) => column.notNull())
      .addColumn('schema', 'text', (column) => column.notNull())
      .addColumn('policy', 'text', (column) => column.notNull())
      .addColumn('enrolled_at', 'text', (column) => column.notNull())
      .execute();
    await db.schema
      .createTable('leases')
      .addColumn('patient', 'text', (column) => column.primaryKey().references('patients.id'))
      .addColumn('owner', 'text', (column) => column.notNull())
      .addColumn('epoch', 'bigint', (column) => column.notNull())
      .addColumn('expires_at', 'bigint', (column) => column.notNull())
      .addColumn('claimant', 'text')
      .execute();
    await db.schema
      .createTable('samples')
      .addColumn('patient', 'text', (column) => column.notNull().references('patients.id'))
      .addColumn('sequence', 'bigint', (column) => column.notNull())
      .addColumn('digest', 'bytea', (column) => column.notNull())
      .addColumn('ciphertexts', 'bytea')
      .addColumn('received_at', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('samples_key', ['patient', 'sequence'])
      .execute();
    // What is still held is a small part of what was received: forgetting must not read the rest.
    await db.schema
      .createIndex('samples_held')
      .on('samples')
      .columns(['patient', 'sequence'])
      .where(sql.ref('ciphertexts'), 'is not', null)
      .execute();
    await db.schema
      .createTable('models')
      .addColumn('patient', 'text', (column) => column.notNull().references('patients.id'))
      .addColumn('number', 'integer', (column) => column.notNull())
      .addColumn('sealed_notice', 'bytea', (column) => column.notNull())
      .addColumn('sealed_content', 'bytea', (column) => column.notNull())
      .addColumn('trained_at', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('models_key', ['patient', 'number'])
      .execute();
    await db.schema
      .createTable('decisions')
      .addColumn('patient', 'text', (column) => column.notNull())
      .addColumn('sequence', 'bigint', (column) => column.notNull())
      .addColumn('sealed_outcome', 'bytea', (column) => column.notNull())
      .addColumn('decided_at', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('decisions_key', ['patient', 'sequence'])
      .addForeignKeyConstraint('decisions_sample', ['patient', 'sequence'], 'samples', [
        'patient',
        'sequence',
      ])
      .execute();
  },
};

/** When samples were measured, and what is known of alarms. */
const alarms: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await db.schema.alterTable('samples').addColumn('measured_at', 'text').execute();
    await db.schema
      .createTable('alarm_books')
      .addColumn('patient', 'text', (column) => column.primaryKey().references('patients.id'))
      .addColumn('revision', 'bigint', (column) => column.notNull())
      .addColumn('sealed_book', 'bytea', (column) => column.notNull())
      .execute();
  },
};

const all = { '0001-first': first, '0002-alarms': alarms };

/** All migrations, applied in the order of their names. A released migration is never edited. */
export const migrations: MigrationProvider = { getMigrations: () => Promise.resolve(all) };

/** The current layout: the name of the last migration. */
export const LAYOUT: string = Object.keys(all).sort().at(-1) ?? '';
