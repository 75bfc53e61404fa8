/** A service provider's store that is lost, and what is put in its place. */
import { rmSync } from 'node:fs';

import { systemClock } from '@duoveil/common/runtime';
import { expect } from 'vitest';

import { backUp } from '../../../service-provider/src/backup/backup.js';
import type { Deployment } from './deployment.js';
import { duoveil } from './duoveil.js';

/** Backs up the store of a deployment's service provider, which goes on. */
export function backUpStore({ servers }: Deployment, file: string): ReturnType<typeof backUp> {
  return backUp({ kind: 'file', file: servers.spDatabase }, file, systemClock);
}

/** Stops a deployment's service provider, loses its store and starts it with a backup of that. */
export async function restoreStore({ servers }: Deployment, file: string): Promise<void> {
  await servers.sp.stop();
  for (const suffix of ['', '-wal', '-shm'])
    rmSync(`${servers.spDatabase}${suffix}`, { force: true });
  const restored = await duoveil([
    ...['sp', 'restore', '--in', file, '--database', servers.spDatabase],
    ...['--parameters-digest', servers.digest],
  ]);
  expect(restored).toMatchObject({ code: 0, output: [expect.stringContaining('2 patients')] });
  await servers.startSp();
}
