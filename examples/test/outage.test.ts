import { awaitDecisions, startDeployment } from '@duoveil/harness';
import type { Deployment } from '@duoveil/harness';
import { afterAll, beforeAll, expect, test } from 'vitest';

let deployment: Deployment;
beforeAll(async () => {
  deployment = await startDeployment();
});
afterAll(() => deployment.stop());

test('nothing is lost while the service provider cannot be reached', async () => {
  const channels = ['HR', 'SpO2'];
  await using gateway = await deployment.enrol('patient-1', { channels, window: 4 });
  for (let i = 0; i < 5; i += 1) await gateway.send({ values: { HR: 70 + (i % 3), SpO2: 97 } });
  await gateway.delivered();

  deployment.gatewayLink.cut();
  await gateway.send({ values: { HR: 180, SpO2: 70 } });
  deployment.gatewayLink.heal();

  const decisions = await awaitDecisions(gateway, { count: 6 });
  expect(decisions.map(({ kind }) => kind)).toEqual([
    ...['learning', 'learning', 'learning', 'learning'],
    ...['scored', 'scored'],
  ]);
  expect(decisions.at(-1)).toMatchObject({ outlier: true, statistic: { level: 3 } });
});
