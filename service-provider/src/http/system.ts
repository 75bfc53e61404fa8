/** How both servers are, as `/system` says it. */
import { z } from 'zod';

import { time } from './wire.js';

const quantilesSchema = z
  .object({ p50: z.number().nullable(), p95: z.number().nullable(), p99: z.number().nullable() })
  .describe('of the last five minutes, in milliseconds; null without any')
  .meta({ id: 'Quantiles' });

const spSchema = z
  .object({
    ready: z.boolean(),
    version: z.string(),
    uptimeSeconds: z.number().min(0),
    patients: z.int().min(0).describe('that this replica watches'),
    pending: z.int().min(0).describe('samples that wait for a decision'),
    lagMs: z.number().min(0).describe('for how long the oldest of those has waited'),
    decisionsPerSecond: z.number().min(0).describe('in the last minute'),
    decisionMs: quantilesSchema.describe('from a sample coming in to its decision'),
    scoreMs: quantilesSchema.describe('scores alone, with the CSP'),
    listeners: z.int().min(0).describe('pages that are told of changes'),
    certificateExpiresAt: time.nullable().describe('of the certificate among the parties'),
    httpCertificateExpiresAt: time
      .nullable()
      .describe('of the one that browsers see; null for plain HTTP'),
  })
  .meta({ id: 'ServiceProvider' });

const cspSchema = z
  .object({
    reachable: z.boolean(),
    state: z.enum(['ready', 'sealed', 'unreachable']),
    problem: z.string().nullable().describe('a stable code where it is unreachable'),
    roundTripMs: z.number().min(0).nullable(),
    certificateExpiresAt: time.nullable(),
    keyGenerations: z.array(z.int().min(1)).describe('that are not retired'),
    keyGenerationInUse: z.int().min(1).nullable().describe('by this service provider'),
  })
  .meta({ id: 'CryptoServiceProvider' });

export const systemSchema = z.object({ sp: spSchema, csp: cspSchema }).meta({ id: 'System' });

export type Quantiles = z.output<typeof quantilesSchema>;
export type SpReport = z.output<typeof spSchema>;
export type CspReport = z.output<typeof cspSchema>;
export type SystemReport = z.output<typeof systemSchema>;

/** Where the report comes from. */
export interface SystemSource {
  report(): Promise<SystemReport>;
}
