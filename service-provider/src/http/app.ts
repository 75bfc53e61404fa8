/**
 * The HTTP server of operators: `/api/v1`, and the dashboard's files. Every call passes the same gate,
 * and everything that is wrong is answered with problem details and a stable code.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

import fastifyCookie from '@fastify/cookie';
import fastifyHelmet from '@fastify/helmet';
import fastifyRateLimit from '@fastify/rate-limit';
import { duoveilError } from '@duoveil/common/errors';
import fastify, {
  type FastifyInstance,
  type FastifyRequest,
  type onRequestHookHandler,
  type RawServerDefault,
} from 'fastify';
import { validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';

import { admit } from './access.js';
import { registerDashboard } from './dashboard.js';
import { describeApi } from './describe.js';
import type { HttpEnvironment } from './environment.js';
import { answerProblem, asDuoveilError, refuseRaw } from './failures.js';
import { observeRequests } from './observed.js';
import { Routes } from './route-list.js';
import { alarmRoutes } from './routes/alarms.js';
import { eventRoutes } from './routes/events.js';
import { oidcRoutes } from './routes/oidc.js';
import { patientRoutes } from './routes/patients.js';
import { sessionRoutes } from './routes/session.js';
import { systemRoutes } from './routes/system.js';
import type { HttpCredentials } from './tls-files.js';

/** With schemas of zod. */
export type HttpApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyInstance['log'],
  ZodTypeProvider
>;

/** Where the API is. */
export const API = '/api/v1';

/** How the server is reached, beside its address. */
export interface AppOptions {
  /** Undefined for plain HTTP. */
  readonly credentials?: HttpCredentials | undefined;
  /** Is there one proxy before it, whose word on addresses is believed? */
  readonly behindProxy?: boolean;
  /** A directory with the dashboard's built files; without one there is the API alone. */
  readonly dashboard?: string | undefined;
}

/** Connections at once. */
const MAX_CONNECTIONS = 1024;
/** How long a request may take to come in, in milliseconds. */
const REQUEST_MS = 10_000;

/** The server, ready to listen. */
export async function createApp(
  environment: HttpEnvironment,
  options: AppOptions = {},
): Promise<HttpApp> {
  const { limits, random, secure } = environment;
  const app: HttpApp = fastify({
    serverFactory: (handler) => serverOf(handler, options.credentials),
    // The proxy's own address is not the caller's; what the caller says of itself counts for nothing.
    trustProxy: options.behindProxy === true && ((_address: string, hop: number) => hop === 0),
    bodyLimit: limits.bodyBytes,
    handlerTimeout: limits.answerMs,
    genReqId: () => Buffer.from(random.bytes(8)).toString('hex'),
    return503OnClosing: false,
    // Requests in progress finish; whoever closes says for how long.
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    frameworkErrors: (error, request, reply) => {
      answerProblem(error, request, reply, environment);
    },
    clientErrorHandler: refuseRaw,
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  // The types say what is sent; the schemas are for the description, and tests compare the two.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.removeContentTypeParser('text/plain');
  app.decorateRequest('session', undefined);

  const routes = new Routes(app);
  observeRequests(app, environment);
  await app.register(fastifyHelmet, headersOf(secure));
  await app.register(fastifyCookie);
  await app.register(fastifyRateLimit, {
    max: limits.requestsPerMinute,
    timeWindow: 60_000,
    errorResponseBuilder: (_request, { ttl }) =>
      duoveilError('OVERLOADED', 'too many requests from this address; wait', {
        retryAfterMs: ttl,
      }),
  });
  app.setErrorHandler((error, request, reply) => {
    answerProblem(error, request, reply, environment);
  });
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, (request: FastifyRequest, reply) => {
    answerProblem(routes.refusal(request), request, reply, environment);
  });
  addGate(app, environment);
  await describeApi(app);
  await app.register(
    (api, _options, done) => {
      api.addHook('onRequest', (_request, reply, next) => {
        reply.header('cache-control', 'no-store');
        next();
      });
      apiRoutes(api.withTypeProvider<ZodTypeProvider>(), environment);
      done();
    },
    { prefix: API },
  );
  if (options.dashboard !== undefined) await registerDashboard(app, options.dashboard);
  return app;
}

/** After the limits on rates, for every route that is added from now on. */
function addGate(app: HttpApp, environment: HttpEnvironment): void {
  const gate: onRequestHookHandler = (request, reply, done) => {
    try {
      admit(request, reply, environment);
      done();
    } catch (error) {
      done(asDuoveilError(error));
    }
  };
  app.addHook('onRoute', (route) => {
    route.onRequest = [...[route.onRequest ?? []].flat(), gate];
  });
}

function apiRoutes(api: HttpApp, environment: HttpEnvironment): void {
  sessionRoutes(api, environment);
  if (environment.oidc !== undefined) oidcRoutes(api, environment, environment.oidc);
  patientRoutes(api, environment);
  alarmRoutes(api, environment);
  eventRoutes(api, environment);
  systemRoutes(api, environment);
  api.get('/openapi.json', { config: { access: 'anyone' }, schema: { hide: true } }, () =>
    api.swagger(),
  );
}

function serverOf(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  credentials: HttpCredentials | undefined,
): Server {
  const options = { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS };
  const server: Server =
    credentials === undefined
      ? createServer(options, handler)
      : createTlsServer(
          {
            ...options,
            cert: credentials.certificate,
            key: credentials.key.reveal(),
            minVersion: 'TLSv1.3',
          },
          handler,
        );
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

/** Nothing from outside, nothing inline, and in nobody's frame. */
function headersOf(secure: boolean) {
  return {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
        objectSrc: ["'none'"],
      },
    },
    strictTransportSecurity: secure && { maxAge: 31_536_000 },
    referrerPolicy: { policy: 'no-referrer' as const },
    xFrameOptions: { action: 'deny' as const },
  };
}
