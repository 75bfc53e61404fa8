import { duoveilError, isDuoveilError } from '@duoveil/common/errors';

import { bytesOf } from './blobs.js';
import type { Connection } from './database.js';
import { storing } from './failures.js';
import type { Place, Seal } from './seal.js';

const PLACE: Place = { kind: 'check', patient: '', number: 0 };

/**
 * Bind the store to its key: a sealed nothing is written on first use, and opened ever after.
 * @throws DuoveilError `UNSEALING_FAILED` where the store was made with another key
 */
export async function bindStoreKey(db: Connection, seal: Seal): Promise<void> {
  await storing(async () => {
    // Of several that start at the same time, the first one's is the one that counts.
    await db
      .insertInto('store_key')
      .values({ id: 1, sealed_check: seal.close(new Uint8Array(), PLACE) })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .execute();
    const row = await db.selectFrom('store_key').select('sealed_check').executeTakeFirstOrThrow();
    try {
      seal.open(bytesOf(row.sealed_check), PLACE);
    } catch (error) {
      if (!isDuoveilError(error, 'UNSEALING_FAILED')) throw error;
      throw duoveilError(
        'UNSEALING_FAILED',
        'the store key is not that of this database: give the one that it was made with',
        {},
        { cause: error },
      );
    }
  });
}
