/** The dashboard's built files, at every path that is not the API's. */
import { join } from 'node:path';

import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';

/** How long browsers may keep a file whose name has a hash of its content, in seconds. */
const FOREVER_S = 31_536_000;

/**
 * Serves them.
 * @param directory with `index.html`, and under `assets/` what never changes under its name
 */
export async function registerDashboard(app: FastifyInstance, directory: string): Promise<void> {
  const assets = join(directory, 'assets', '/');
  await app.register(async (files) => {
    files.addHook('onRoute', (route) => {
      route.config = { ...route.config, access: 'anyone' };
    });
    await files.register(fastifyStatic, {
      root: directory,
      // One route for each file that is there now: no path of a caller's reaches the disk.
      wildcard: false,
      cacheControl: false,
      setHeaders: (response, path) => {
        const kept = path.startsWith(assets)
          ? `public, max-age=${FOREVER_S}, immutable`
          : 'no-cache';
        response.header('cache-control', kept);
      },
    });
  });
}
