/** Settings that every server of ours has, to be spread into its own. */
import { z } from 'zod';
import { ENGINE_CHOICES } from '../modular/index.js';
import { logLevels } from './logging.js';
import { telemetrySettings } from './telemetry.js';

export const serverSettings = {
  listen: z
    .string()
    .min(1)
    .default('127.0.0.1:0')
    .describe('host:port to listen on; port 0 lets the system choose'),
  portFile: z
    .string()
    .min(1)
    .optional()
    .describe('file to write the port to, once the server is ready'),
  tls: z
    .string()
    .min(1)
    .describe('directory with ca.crt, tls.crt, tls.key and, if there is one, ca.crl'),
  tlsReloadMs: z
    .int()
    .min(0)
    .default(10_000)
    .describe('how often those are looked at, in milliseconds; 0 for on SIGHUP only'),
  tlsWarningDays: z
    .int()
    .min(0)
    .default(14)
    .describe('warn of certificates that expire within this many days'),
  logLevel: z.enum(logLevels).default('info').describe('error, warn, info or debug'),
  ...telemetrySettings,
  engine: z.enum(ENGINE_CHOICES).default('auto').describe('arithmetic: auto, native or portable'),
  graceMs: z
    .int()
    .min(0)
    .default(10_000)
    .describe('how long calls in progress may go on after a request to stop, in milliseconds'),
  insecureKeyBits: z.boolean().default(false).describe('accept a modulus of fewer than 2,048 bits'),
} as const;
