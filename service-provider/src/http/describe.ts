/** The API's description, from the very schemas that its calls are checked against. */
import fastifySwagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import type { OpenAPIV3_1 } from 'openapi-types';

const DESCRIPTION =
  'What operators see and do: levels and alarms, never a vital sign. A session is a cookie, ' +
  'and calls that change something carry its csrfToken in the header x-csrf-token.';

/** Has routes described that are added from now on. */
export async function describeApi(app: FastifyInstance): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'duoveil: operators of a service provider',
        description: DESCRIPTION,
        version: '1',
      },
      components: {
        securitySchemes: { session: { type: 'apiKey', in: 'cookie', name: '__Host-duoveil' } },
      },
    },
    transform: (document) => {
      const { schema, url } = jsonSchemaTransform(document);
      const access = document.route.config?.access;
      const security = access === 'anyone' ? {} : { security: [{ session: [] }] };
      const description =
        access === 'anyone' ? 'For anyone.' : `For the role ${access ?? '?'} and above.`;
      return { schema: { description, ...schema, ...security }, url };
    },
    transformObject: (document) =>
      withoutUnused(jsonSchemaTransformObject(document) as OpenAPIV3_1.Document),
  });
}

/** Schemas are listed both as sent and as received: what nothing refers to is left out. */
function withoutUnused(document: OpenAPIV3_1.Document): OpenAPIV3_1.Document {
  const schemas = { ...document.components?.schemas };
  for (;;) {
    const text = JSON.stringify({ ...document, components: { schemas } });
    const unused = Object.keys(schemas).filter(
      (name) => !text.includes(`"#/components/schemas/${name}"`),
    );
    if (unused.length === 0) break;
    for (const name of unused) Reflect.deleteProperty(schemas, name);
  }
  return { ...document, components: { ...document.components, schemas } };
}
