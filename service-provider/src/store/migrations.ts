import { sql, type Kysely, type Migration, type MigrationProvider } from 'kysely';

const first: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('parameters')
      .addColumn('digest', 'text', (column) => column.primaryKey())
      .addColumn('family', 'text', (column) => column.notNull())
      .addColumn('modulus', 'blob', (column) => column.notNull())
      .addColumn('generator', 'blob', (column) => column.notNull())
      .execute();
    await db.schema
      .createTable('patients')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('public_key', 'blob', (column) => column.notNull())
      .addColumn('commitment', 'blob', (column) => column.notNull())
      .addColumn('response', 'blob', (column) => column.notNull())
      .addColumn('schema', 'text', (column) => column.notNull())
      .addColumn('policy', 'text', (column) => column.notNull())
      .addColumn('enrolled_at', 'text', (column) => column.notNull())
      .execute();
    await db.schema
      .createTable('samples')
      .addColumn('patient', 'text', (column) => column.notNull().references('patients.id'))
      .addColumn('sequence', 'integer', (column) => column.notNull())
      .addColumn('digest', 'blob', (column) => column.notNull())
      .addColumn('ciphertexts', 'blob')
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
      .addColumn('through_sequence', 'integer', (column) => column.notNull())
      .addColumn('content', 'blob', (column) => column.notNull())
      .addColumn('train_ms', 'real', (column) => column.notNull())
      .addColumn('trained_at', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('models_key', ['patient', 'number'])
      .execute();
    await db.schema
      .createTable('decisions')
      .addColumn('patient', 'text', (column) => column.notNull())
      .addColumn('sequence', 'integer', (column) => column.notNull())
      .addColumn('outcome', 'text', (column) => column.notNull())
      .addColumn('outlier', 'integer')
      .addColumn('squared_distance', 'real')
      .addColumn('level', 'integer')
      .addColumn('model', 'integer')
      .addColumn('latency_ms', 'real')
      .addColumn('decided_at', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('decisions_key', ['patient', 'sequence'])
      .addForeignKeyConstraint('decisions_sample', ['patient', 'sequence'], 'samples', [
        'patient',
        'sequence',
      ])
      .execute();
  },
};

/** All migrations, applied in the order of their names. A released migration is never edited. */
export const migrations: MigrationProvider = {
  getMigrations: () => Promise.resolve({ '0001-first': first }),
};
