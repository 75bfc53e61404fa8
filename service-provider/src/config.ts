import { z } from 'zod';

import { secretSetting, serverSettings } from '@duoveil/common/runtime';

/** Settings of the service provider: by flag, environment (`DUOVEIL_…`) or YAML file. */
export const spSettings = z.strictObject({
  ...serverSettings,
  /** Address of the crypto service provider. */
  csp: z.string().min(1).describe('host:port of the crypto service provider'),
  /** Digest of the public parameters, as `duoveil csp init` printed it. */
  parametersDigest: z.string().min(1).describe('digest of the parameters, from "duoveil csp init"'),
  /** Distances say more than levels: they are learnt only where somebody decided so. */
  allowDistance: z
    .boolean()
    .default(false)
    .describe('accept patients with distance output or the reference suite'),
  /** The store's file. */
  database: z.string().min(1).describe('file of the embedded database; made if it is not there'),
  /** Seals what the database must not tell. */
  storeKey: secretSetting('file of the key that seals decisions and models').optional(),
});

export type SpSettings = z.output<typeof spSettings>;
