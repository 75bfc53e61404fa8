import { join } from 'node:path';

import { Bcp, encodeParameters } from '@duoveil/common/bcp';
import { MasterDecryption, type MasterKey } from '@duoveil/common/master';
import { loadEngine, type ModularEngine } from '@duoveil/common/modular';
import { AdditiveKey, CrtOpening } from '@duoveil/common/paillier';
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
} from '@duoveil/common/runtime';
import { OperationsServiceService, ParametersServiceService } from '@duoveil/proto';

import { AuditLog } from './audit/audit-log.js';
import { Budgets } from './audit/budgets.js';
import { Discipline } from './audit/discipline.js';
import { AUDIT_FILE, type CspSettings } from './config.js';
import { arithmeticService } from './handlers/arithmetic.js';
import { keyService } from './handlers/keys.js';
import { packedService, type PackedEnvironment } from './handlers/packed.js';
import { loadMasterKey } from './keys/custody.js';
import { deriveKeys, type DerivedKeys } from './keys/derived-keys.js';
import { Models } from './keys/models.js';
import { PatientKeys } from './keys/patient-keys.js';
import { ProviderKeys } from './keys/provider-keys.js';
import { Comparisons } from './sessions/comparisons.js';
import { TransferSessions } from './sessions/transfers.js';

/** Largest message either way: a full call of 64 values at 8,192 bits, with room. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

/** Run a crypto service provider until it is asked to stop. */
export async function serve(settings: CspSettings): Promise<void> {
  const stopping = untilStopped();
  const logger = createLogger({ service: 'csp', level: settings.logLevel });
  const telemetry = await startTelemetry('csp', settings, logger);
  const tls = await openTls('csp', settings, logger);
  const engine = loadEngine(settings.engine);
  logger.info('arithmetic engine', { engine: engine.description });

  const master = await loadMasterKey(
    settings.state,
    { kind: 'passphrase', passphrase: settings.passphrase },
    engine,
  );
  const { parameters } = master;
  requireSecureBits(parameters.bits, settings.insecureKeyBits);
  logger.info('master key unsealed', { parameters: parameters.digest, keyBits: parameters.bits });

  const bcp = new Bcp(parameters, engine);
  const keys = new PatientKeys(bcp);
  const derived = deriveKeys(master);
  const audit = await AuditLog.open(join(settings.state, AUDIT_FILE), systemClock);
  const budgets = await Budgets.open({
    file: join(settings.state, 'budgets.json'),
    key: derived.budgets,
    patient: { perMinute: settings.patientPerMinute, perDay: settings.patientPerDay },
    provider: { perMinute: settings.providerPerMinute, perDay: settings.providerPerDay },
    clock: systemClock,
  });
  const discipline = new Discipline(settings.allowDistance, budgets, audit, systemClock);
  const decryption = await MasterDecryption.create(master, engine);
  const server = await startServer({
    listen: settings.listen,
    tls,
    logger,
    maxMessageBytes: MAX_MESSAGE_BYTES,
    services: [
      implement(ParametersServiceService, {
        getParameters: unary({ roles: ['sp', 'operator', 'auditor'] }, () =>
          Promise.resolve({ parameters: encodeParameters(parameters) }),
        ),
      }),
      implement(OperationsServiceService, {
        setLogLevel: unary({ roles: ['operator'] }, ({ level }, context) =>
          Promise.resolve({ previous: changeLogLevel(context.logger, level) }),
        ),
      }),
      keyService(bcp, keys),
      arithmeticService({ bcp, keys, decryption, random: systemRandom, discipline }),
      ...(parameters.family === 'residue'
        ? [packedService(packedEnvironment(master, derived, keys, discipline, engine))]
        : []),
    ],
  });
  telemetry.follow(server.health);
  if (settings.portFile !== undefined) {
    await writeFileAtomic(settings.portFile, `${String(server.port)}\n`, 0o644);
  }

  await stopping;
  await server.drain(settings.graceMs);
  tls.close();
  await audit.close();
  await engine.close();
  await telemetry.close();
}

function packedEnvironment(
  { parameters, factors }: MasterKey,
  { sealing, answers }: DerivedKeys,
  keys: PatientKeys,
  discipline: Discipline,
  engine: ModularEngine,
): PackedEnvironment {
  return {
    own: {
      key: new AdditiveKey(parameters, engine),
      opening: new CrtOpening(factors, engine),
    },
    keys,
    providers: new ProviderKeys(engine, parameters.bits, answers),
    models: new Models(sealing, parameters.bits, parameters.digest),
    answers,
    random: systemRandom,
    discipline,
    sessions: new TransferSessions(systemRandom),
    comparisons: new Comparisons(systemRandom),
  };
}
