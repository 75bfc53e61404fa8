/**
 * Telemetry of one process: Prometheus metrics, liveness and readiness over HTTP, and traces to an OTLP
 * collector. Each is off unless its setting says where, and what is off is not even loaded.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { z } from 'zod';
import { formatAddress, parseAddress } from './address.js';
import type { Health } from './health.js';
import type { Logger } from './logging.js';
import { attachMetrics, metrics } from './metrics.js';
import { switchTracing } from './tracing.js';

/** Settings of telemetry, to be spread into a party's own. */
export const telemetrySettings = {
  metricsListen: z
    .string()
    .min(1)
    .optional()
    .describe('host:port for /metrics, /healthz and /readyz over plain HTTP; off by default'),
  traceEndpoint: z
    .url({ protocol: /^https?$/, error: 'must be the URL of an OTLP/HTTP trace receiver' })
    .optional()
    .describe('URL of an OTLP/HTTP collector, as http://host:4318/v1/traces; off by default'),
  traceRatio: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe('share of the traces begun here that are recorded, from 0 to 1'),
} as const;

/** How {@link telemetrySettings} come out. */
export interface TelemetrySettings {
  readonly metricsListen?: string | undefined;
  readonly traceEndpoint?: string | undefined;
  readonly traceRatio: number;
}

/** A process's telemetry, while it runs. */
export interface Telemetry {
  /** The process is ready when this says that the server is; until then it is not. */
  follow(health: Pick<Health, 'isServing'>): void;
  /** Sends what is left, and ends. */
  close(): Promise<void>;
}

/**
 * Starts what the settings ask for.
 * @param service the party's name, for example `sp`
 * @throws CONFIG_INVALID where it cannot listen
 */
export async function startTelemetry(
  service: string,
  settings: TelemetrySettings,
  logger: Logger,
): Promise<Telemetry> {
  const closers: (() => Promise<void>)[] = [];
  let health: Pick<Health, 'isServing'> | undefined;
  const isReady = (): boolean => health?.isServing() === true;
  if (settings.metricsListen !== undefined) {
    const listen = parseAddress(settings.metricsListen, 'metricsListen');
    closers.push(await startMetrics(service, listen, isReady, logger));
  }
  if (settings.traceEndpoint !== undefined) {
    closers.push(await startTraces(service, settings.traceEndpoint, settings.traceRatio));
  }
  return {
    follow: (followed) => {
      health = followed;
    },
    close: async () => {
      for (const close of closers) await close();
    },
  };
}

async function startMetrics(
  service: string,
  listen: { readonly host: string; readonly port: number },
  isReady: () => boolean,
  logger: Logger,
): Promise<() => Promise<void>> {
  const [{ MeterProvider }, { PrometheusExporter }, { resourceFromAttributes }, { serveMetrics }] =
    await Promise.all([
      import('@opentelemetry/sdk-metrics'),
      import('@opentelemetry/exporter-prometheus'),
      import('@opentelemetry/resources'),
      import('./metrics-server.js'),
    ]);
  const exporter = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true });
  const resource = resourceFromAttributes({ 'service.name': `duoveil-${service}` });
  const provider = new MeterProvider({ resource, readers: [exporter] });
  attachMetrics(provider.getMeter('duoveil'));
  const unobserve = observeProcess(isReady);
  const server = await serveMetrics(listen, isReady, (request, response) => {
    exporter.getMetricsRequestHandler(request, response);
  });
  logger.info('metrics', { address: formatAddress({ host: listen.host, port: server.port }) });
  return async () => {
    await server.close();
    unobserve();
    attachMetrics(undefined);
    await provider.shutdown();
  };
}

/** How often the event loop is looked at, in milliseconds. */
const resolutionMs = 10;

/** What every process can say of itself. */
function observeProcess(isReady: () => boolean): () => void {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  delay.enable();
  const ends = [
    metrics.ready.observe((report) => {
      report(isReady() ? 1 : 0);
    }),
    metrics.cpu.observe((report) => {
      const { user, system } = process.cpuUsage();
      report(user / 1e6, { 'cpu.mode': 'user' });
      report(system / 1e6, { 'cpu.mode': 'system' });
    }),
    metrics.memory.observe((report) => {
      report(process.memoryUsage.rss());
    }),
    metrics.eventLoopDelay.observe((report) => {
      // What is measured is how far apart the looks were.
      report(Math.max(0, delay.percentile(99) / 1e9 - resolutionMs / 1000));
      delay.reset();
    }),
  ];
  return () => {
    for (const end of ends) end();
    delay.disable();
  };
}

async function startTraces(
  service: string,
  url: string,
  ratio: number,
): Promise<() => Promise<void>> {
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }, core, hooks] =
    await Promise.all([
      import('@opentelemetry/api'),
      import('@opentelemetry/sdk-trace'),
      import('@opentelemetry/exporter-trace-otlp-http'),
      import('@opentelemetry/resources'),
      import('@opentelemetry/core'),
      import('@opentelemetry/context-async-hooks'),
    ]);
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({ 'service.name': `duoveil-${service}` }),
    // Whoever began a trace decides for all of it.
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(ratio) }),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url }) })],
  });
  const contexts = new hooks.AsyncLocalStorageContextManager().enable();
  api.context.setGlobalContextManager(contexts);
  api.propagation.setGlobalPropagator(new core.W3CTraceContextPropagator());
  api.trace.setGlobalTracerProvider(provider);
  switchTracing(true);
  return async () => {
    switchTracing(false);
    // A collector that does not answer must not keep the process from ending.
    await provider.shutdown().catch(() => undefined);
    api.trace.disable();
    api.propagation.disable();
    api.context.disable();
  };
}
