import type { PublicParameters } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { bytesFromInteger } from '@duoveil/common/random';

import type { Connection } from './database.js';
import { storing } from './failures.js';

/**
 * Bind the store to the parameters that its ciphertexts are under: written on first use, compared
 * ever after.
 * @throws DuoveilError `PARAMETERS_MISMATCH` where the store belongs to others.
 */
export async function bindParameters(db: Connection, parameters: PublicParameters): Promise<void> {
  await storing(async () => {
    // Of several that start at the same time, the first one's are the ones that count.
    await db
      .insertInto('parameters')
      .values({
        id: 1,
        digest: parameters.digest,
        family: parameters.family,
        modulus: bytesFromInteger(parameters.modulus, parameters.plaintextBytes),
        generator: bytesFromInteger(parameters.generator, parameters.elementBytes),
      })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .execute();
    const row = await db.selectFrom('parameters').select('digest').executeTakeFirstOrThrow();
    if (row.digest !== parameters.digest) {
      throw duoveilError(
        'PARAMETERS_MISMATCH',
        `the store holds ciphertexts under the parameters ${row.digest}: use the CSP that has them, or another store`,
        { expected: row.digest },
      );
    }
  });
}
