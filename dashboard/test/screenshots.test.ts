/** Writes the pictures of the documents anew: `npm run docs:images`. */
import { fileURLToPath } from 'node:url';

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, test } from 'vitest';

import { launchChromium } from './browser.js';
import { FakeServer } from './fake-server.js';
import { goTo, rowOf, signIn } from './pages.js';
import { ward } from './scenes.js';

const DIRECTORY = fileURLToPath(new URL('../../docs/images/', import.meta.url));

const PICTURES = [
  { name: 'dashboard-fleet', patient: undefined, colorScheme: 'light', width: 1100, height: 700 },
  {
    name: 'dashboard-patient',
    patient: 'ward-a-07',
    colorScheme: 'light',
    width: 1100,
    height: 820,
  },
  { name: 'dashboard-dark', patient: 'ward-a-07', colorScheme: 'dark', width: 1100, height: 820 },
  { name: 'dashboard-narrow', patient: undefined, colorScheme: 'dark', width: 360, height: 700 },
] as const;

describe.runIf(process.env['DUOVEIL_SCREENSHOTS'] === '1')('pictures', () => {
  let server: FakeServer;
  let browser: Browser;

  beforeAll(async () => {
    server = await FakeServer.start(ward());
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser.close();
    await server.stop();
  });

  test.each(PICTURES)('$name', async ({ name, patient, colorScheme, width, height }) => {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme });
    await signIn(page, server.address, 'operator-token');
    await rowOf(page, 'ward-a-07').waitFor();
    if (patient !== undefined) {
      await goTo(page, `#/patients/${patient}`, patient);
      await page.locator('canvas').waitFor();
      await page.getByText(/, sample \d/).waitFor();
    }
    await page.screenshot({ path: `${DIRECTORY}${name}.png`, animations: 'disabled' });
    await page.close();
  });
});
