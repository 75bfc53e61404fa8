import { duoveilError } from '@duoveil/common/errors';
import { abortReason, silentLogger, type Sleep } from '@duoveil/common/runtime';
import { expect, it } from 'vitest';

import { watchStore } from './store-watch.js';

const gone = duoveilError('STORAGE_UNAVAILABLE', 'the database does not answer');

it('is not ready while the store does not answer, and says each change once', async () => {
  const end = new AbortController();
  const answers = [true, false, false, true, true, false];
  const said: string[] = [];
  const sleep: Sleep = (_ms, signal) =>
    signal?.aborted === true ? Promise.reject(abortReason(signal)) : Promise.resolve();
  await watchStore({
    ask: () => {
      const answer = answers.shift();
      // The last answer comes when it has ended: the server is going down, and stays as it is.
      if (answers.length === 0) end.abort();
      return answer === true ? Promise.resolve() : Promise.reject(gone);
    },
    health: { setStatus: (service, status) => said.push(`${service}:${status}`) },
    ...{ sleep, logger: silentLogger(), signal: end.signal },
  });
  expect(said).toEqual([':NOT_SERVING', ':SERVING']);
});
