import { setMaxListeners } from 'node:events';

import { Bcp, parseParametersDigest } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { loadEngine } from '@duoveil/common/modular';
import { AdditiveKey, generateAdditiveKey } from '@duoveil/common/paillier';
import { systemRandom } from '@duoveil/common/random';
import {
  bidi,
  changeLogLevel,
  connect,
  createLogger,
  implement,
  openTls,
  requireSecureBits,
  retrying,
  serverStream,
  startServer,
  startTelemetry,
  systemClock,
  systemSleep,
  Turns,
  unary,
  untilStopped,
  writeFileAtomic,
  type Logger,
  type RetryOptions,
  type StopReason,
} from '@duoveil/common/runtime';
import {
  AlarmServiceService,
  BaselineServiceService,
  EnrolmentServiceService,
  IngestServiceService,
  MonitoringServiceService,
  OperationsServiceService,
  ParametersServiceService,
  StatisticsServiceService,
} from '@duoveil/proto';

import { alarmPolicyOf, storeSettings, type SpSettings } from './config.js';
import { fetchParameters } from './csp/parameters.js';
import { providerKey } from './csp/provider-key.js';
import { TransferSession } from './csp/transfer-session.js';
import { FleetView } from './fleet/fleet-view.js';
import { StoreFleet } from './fleet/store-fleet.js';
import {
  acknowledgeAlarms,
  listAlarms,
  relearnBaseline,
  suppressAlarms,
  unsuppressAlarms,
  watchAlarms,
} from './handlers/alarms.js';
import { getBaselineSamples } from './handlers/baseline-samples.js';
import { enrol } from './handlers/enrolment.js';
import { ingest } from './handlers/ingest.js';
import { watch } from './handlers/monitoring.js';
import { parametersResponse } from './handlers/parameters.js';
import { statistics } from './handlers/statistics.js';
import { serveOperators } from './http/serve-operators.js';
import { openHttpFiles } from './http/server.js';
import { httpOptions } from './http/settings.js';
import { Monitors } from './monitor/monitors.js';
import { PackedSuite, type PackedEnvironment } from './monitor/packed-suite.js';
import { ReferenceSuite } from './monitor/reference-suite.js';
import { Outlet } from './outlets/outlet.js';
import { webhookOf } from './outlets/settings.js';
import { watchStore } from './store-watch.js';
import { openStore } from './store/index.js';

/** Largest message either way: 32 blinded operations at 8,192 bits stay well below. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

/** Run a service provider until it is asked to stop. */
export async function serve(settings: SpSettings): Promise<void> {
  const stopping = untilStopped();
  const logger = createLogger({ service: 'sp', level: settings.logLevel });
  const telemetry = await startTelemetry('sp', settings, logger);
  const http = httpOptions(settings);
  const pinned = parseParametersDigest(settings.parametersDigest, '--parameters-digest');
  const send = webhookOf(settings, systemClock);
  const where = await storeSettings(settings);
  const tls = await openTls('sp', settings, logger);
  const httpFiles = http && (await openHttpFiles(http, logger));
  const engine = loadEngine(settings.engine);
  const csp = connect({
    address: settings.csp.split(','),
    tls,
    expectRole: 'csp',
    parametersDigest: pinned,
    maxMessageBytes: MAX_MESSAGE_BYTES,
  });
  logger.info('arithmetic engine', { engine: engine.description });

  const stop = new AbortController();
  // Every patient's monitor listens, and every call to the CSP.
  setMaxListeners(0, stop.signal);
  const parameters = await waiting(
    () => fetchParameters(csp, pinned, engine),
    (error, attempt, pauseMs) => {
      logger.warn('the CSP does not answer yet', { error, attempt, pauseMs });
    },
    stopping,
  );
  requireSecureBits(parameters.bits, settings.insecureKeyBits);

  const bcp = new Bcp(parameters, engine);
  const store = await waiting(
    () => openStore({ ...where, parameters }),
    (error, attempt, pauseMs) => {
      logger.warn('the database does not answer yet', { error, attempt, pauseMs });
    },
    stopping,
  );
  const packed: PackedEnvironment = {
    bcp,
    cspKey: new AdditiveKey(parameters, engine),
    csp,
    provider: providerKey(await generateAdditiveKey(parameters.bits, engine, systemRandom), csp),
    session: new TransferSession(csp, systemRandom),
    turns: new Turns(),
    random: systemRandom,
    stop: stop.signal,
  };
  const view = new FleetView(store, () => systemClock.now());
  const outlet = send && new Outlet({ send, sleep: systemSleep, logger, stop: stop.signal });
  const monitors = new Monitors({
    store,
    alarms: alarmPolicyOf(settings),
    observer: view,
    outlet,
    suiteOf: (patient) =>
      patient.policy.suite === 'packed'
        ? new PackedSuite(packed, patient)
        : new ReferenceSuite(bcp, patient, csp, systemRandom, stop.signal),
    clock: systemClock,
    sleep: systemSleep,
    logger,
    leaseMs: settings.leaseMs,
    stop: stop.signal,
  });
  await monitors.start();
  const fleet = new StoreFleet({ store, view, monitors, clock: systemClock });

  const operators = { roles: ['operator'] } as const;
  const { allowDistance } = settings;
  const environment = { bcp, store, monitors, allowDistance, clock: systemClock };
  const server = await startServer({
    listen: settings.listen,
    tls,
    logger,
    maxMessageBytes: MAX_MESSAGE_BYTES,
    services: [
      implement(ParametersServiceService, {
        getParameters: unary({ roles: ['gateway', 'operator', 'auditor'] }, () =>
          Promise.resolve(parametersResponse(parameters)),
        ),
      }),
      implement(OperationsServiceService, {
        setLogLevel: unary({ roles: ['operator'] }, ({ level }, context) =>
          Promise.resolve({ previous: changeLogLevel(context.logger, level) }),
        ),
      }),
      implement(EnrolmentServiceService, {
        enrol: unary({ roles: ['gateway'] }, (request, context) =>
          enrol(environment, request, context),
        ),
      }),
      implement(IngestServiceService, {
        ingest: bidi({ roles: ['gateway'] }, ingest(environment)),
      }),
      implement(StatisticsServiceService, {
        getStatistics: unary({ roles: ['gateway'] }, (request, context) =>
          statistics(environment, request, context),
        ),
      }),
      implement(BaselineServiceService, {
        getBaselineSamples: serverStream({ roles: ['gateway'] }, (request, context) =>
          getBaselineSamples(environment, request, context),
        ),
      }),
      implement(MonitoringServiceService, {
        watch: serverStream({ roles: ['gateway', 'operator'] }, (request, context) =>
          watch(request, context, store, monitors),
        ),
      }),
      implement(AlarmServiceService, {
        listAlarms: unary(operators, (request) => listAlarms(fleet, request)),
        watchAlarms: serverStream(operators, (request, context) =>
          watchAlarms(fleet, request, context),
        ),
        acknowledgeAlarms: unary(operators, (request, context) =>
          acknowledgeAlarms(fleet, request, context),
        ),
        suppressAlarms: unary(operators, (request, context) =>
          suppressAlarms(fleet, request, context),
        ),
        unsuppressAlarms: unary(operators, (request, context) =>
          unsuppressAlarms(fleet, request, context),
        ),
        relearnBaseline: unary(operators, (request, context) =>
          relearnBaseline(fleet, request, context),
        ),
      }),
    ],
  });
  if (parameters.family === 'residue') await makeReady(packed, logger);
  telemetry.follow(server.health);
  const operatorsServer =
    http &&
    httpFiles &&
    (await serveOperators({
      ...{ settings: http, files: httpFiles, fleet, csp, parametersDigest: pinned },
      ...{ storeKey: where.key, tls, isReady: () => server.health.isServing() },
      ...{ logger, clock: systemClock, random: systemRandom },
    }));
  // Whoever looks first need not wait for it.
  view.all().catch((error: unknown) => {
    logger.warn('the fleet will be read when somebody asks', { error });
  });
  if (settings.portFile !== undefined) {
    await writeFileAtomic(settings.portFile, `${String(server.port)}\n`, 0o644);
  }

  const watching = new AbortController();
  const watched = watchStore({
    ...{ ask: () => store.ask(), health: server.health, sleep: systemSleep, logger },
    signal: watching.signal,
  });

  await stopping;
  // What goes down is not to become ready again.
  watching.abort();
  await Promise.all([server.drain(settings.graceMs), operatorsServer?.drain(settings.graceMs)]);
  stop.abort();
  await monitors.stopped();
  await outlet?.stopped();
  await watched;
  csp.close();
  tls.close();
  await store.close();
  await engine.close();
  await telemetry.close();
}

/**
 * Does what needs another party as often as it takes: one that is down, or sealed, comes when it comes.
 * @throws what trying again does not mend; NOT_READY where this process is asked to stop before
 */
async function waiting<T>(
  work: () => Promise<T>,
  onRetry: NonNullable<RetryOptions['onRetry']>,
  stopping: Promise<StopReason>,
): Promise<T> {
  const stop = new AbortController();
  void stopping.then((reason) => {
    stop.abort(duoveilError('NOT_READY', `stopped before it was ready (${reason})`));
  });
  const pauses = { baseMs: 200, maxMs: 5_000, random: systemRandom };
  return retrying(work, { ...pauses, onRetry, signal: stop.signal });
}

/** Whatever the first training and score would otherwise wait for; that they can do without. */
async function makeReady(
  { cspKey, provider, session, random, stop }: PackedEnvironment,
  logger: Logger,
): Promise<void> {
  await cspKey.encrypt([0n], random);
  await provider.keys.key.encrypt([0n], random);
  await provider.registration.id(stop).catch((error: unknown) => {
    logger.warn('the provider key is not registered yet', { error });
  });
  // Takes a second, and only the first comparison needs it.
  session.open(stop).catch((error: unknown) => {
    logger.warn('the session for comparisons is not open yet', { error });
  });
}
