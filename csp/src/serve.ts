import { join } from 'node:path';

import { setUp } from '@duoveil/common/master';
import { loadEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import {
  changeLogLevel,
  createLogger,
  implement,
  openTls,
  requireSecureBits,
  startServer,
  startTelemetry,
  systemClock,
  unary,
  untilStopped,
  writeFileAtomic,
  type Health,
} from '@duoveil/common/runtime';
import {
  BlindedArithmeticServiceService,
  KeyServiceService,
  OperationsServiceService,
  PackedServiceService,
  ParametersServiceService,
} from '@duoveil/proto';
import type { ServiceDefinition } from '@grpc/grpc-js';

import { AuditLog } from './audit/audit-log.js';
import { Budgets } from './audit/budgets.js';
import { Discipline } from './audit/discipline.js';
import { AUDIT_FILE, type CspSettings } from './config.js';
import { parametersOptions, serveGeneration } from './generation.js';
import { arithmeticOptions } from './handlers/arithmetic.js';
import { byGeneration } from './handlers/by-generation.js';
import { custodyService } from './handlers/custody.js';
import { keyOptions } from './handlers/keys.js';
import { packedOptions } from './handlers/packed.js';
import { harden } from './hardening.js';
import { Attempts } from './keys/attempts.js';
import { Custodians } from './keys/custodians.js';
import { Custody } from './keys/custody.js';
import { deriveBudgetsKey } from './keys/derived-keys.js';
import type { CustodyKey } from './keys/locks.js';
import { ServedGenerations } from './keys/unsealed.js';
import { Vault } from './keys/vault.js';
import { lockState } from './state-lock.js';
import { givenSecrets } from './unsealing-secrets.js';

/** Largest message either way: a full call of 64 values at 8,192 bits, with room. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

/** Run a crypto service provider until it is asked to stop. */
export async function serve(settings: CspSettings): Promise<void> {
  const stopping = untilStopped();
  const logger = createLogger({ service: 'csp', level: settings.logLevel });
  harden(logger, [...process.execArgv, process.env['NODE_OPTIONS'] ?? '']);
  const telemetry = await startTelemetry('csp', settings, logger);
  const tls = await openTls('csp', settings, logger);
  const engine = loadEngine(settings.engine);
  logger.info('arithmetic engine', { engine: engine.description });

  const lock = await lockState(settings.state);
  const custody = await Custody.read(settings.state, {
    engine,
    random: systemRandom,
    now: () => systemClock.now(),
  });
  for (const { parameters } of custody.generations) {
    requireSecureBits(parameters.bits, settings.insecureKeyBits);
  }
  const audit = await AuditLog.open(join(settings.state, AUDIT_FILE), systemClock);

  const vault = new Vault<ServedGenerations>();
  const custodians = new Custodians<ServedGenerations>({
    ...{ custody, vault, audit, graceMs: settings.graceMs },
    attempts: new Attempts(systemClock),
    unsealed: async (key, generations) => {
      const discipline = await disciplineOf(settings, key, audit);
      return ServedGenerations.create(key, generations, (opened) =>
        serveGeneration(opened, discipline, engine),
      );
    },
    draw: ({ parameters: { bits, family } }) => setUp({ bits, family }, engine, systemRandom),
  });
  await unsealAtStart(settings, custodians);

  const server = await startServer({
    listen: settings.listen,
    tls,
    logger,
    maxMessageBytes: MAX_MESSAGE_BYTES,
    services: [
      custodyService(custodians),
      implement(OperationsServiceService, {
        setLogLevel: unary({ roles: ['operator'] }, ({ level }, context) =>
          Promise.resolve({ previous: changeLogLevel(context.logger, level) }),
        ),
      }),
      byGeneration(ParametersServiceService, parametersOptions, vault),
      byGeneration(KeyServiceService, keyOptions, vault),
      byGeneration(BlindedArithmeticServiceService, arithmeticOptions, vault),
      ...(custody.newest.parameters.family === 'residue'
        ? [byGeneration(PackedServiceService, packedOptions, vault)]
        : []),
    ],
  });
  telemetry.follow(server.health);
  vault.watch((isOpen) => {
    logger.info(isOpen ? 'unsealed' : 'sealed: waiting for the custodians');
    tellHealth(server.health, isOpen);
  });
  if (settings.portFile !== undefined) {
    await writeFileAtomic(settings.portFile, `${String(server.port)}\n`, 0o644);
  }

  await stopping;
  await server.drain(settings.graceMs);
  tls.close();
  await vault.close(0);
  await audit.close();
  lock.release();
  await engine.close();
  await telemetry.close();
}

/** What a sealed CSP does not serve. */
const PROTOCOL_SERVICES: readonly ServiceDefinition[] = [
  ParametersServiceService,
  KeyServiceService,
  BlindedArithmeticServiceService,
  PackedServiceService,
];

/** With a secret among the settings the CSP unseals itself; without one it waits for its custodians. */
async function unsealAtStart(
  settings: CspSettings,
  custodians: Custodians<ServedGenerations>,
): Promise<void> {
  const [secret] = givenSecrets(settings);
  if (secret !== undefined) await custodians.unseal(secret, 'start');
  // A CSP that is sealed later on must not have what opens it.
  settings.passphrase?.forget();
  settings.key?.forget();
  if (secret?.kind === 'key') secret.key.forget();
}

/** The services of a sealed CSP do not serve, and neither does the CSP as a whole. */
function tellHealth(health: Health, isOpen: boolean): void {
  const status = isOpen ? 'SERVING' : 'NOT_SERVING';
  health.setStatus('', status);
  for (const definition of PROTOCOL_SERVICES) {
    const [method] = Object.values(definition);
    health.setStatus(method?.path.split('/')[1] ?? '', status);
  }
}

async function disciplineOf(
  settings: CspSettings,
  custodyKey: CustodyKey,
  audit: AuditLog,
): Promise<Discipline> {
  const budgets = await Budgets.open({
    file: join(settings.state, 'budgets.json'),
    key: deriveBudgetsKey(custodyKey),
    patient: { perMinute: settings.patientPerMinute, perDay: settings.patientPerDay },
    provider: { perMinute: settings.providerPerMinute, perDay: settings.providerPerDay },
    clock: systemClock,
  });
  return new Discipline(settings.allowDistance, budgets, audit, systemClock);
}
