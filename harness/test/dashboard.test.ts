/** The dashboard in a real browser over real parties: what operators see, and what of it survives. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import {
  findChromium,
  launchChromium,
  NO_CHROMIUM,
  type Browser,
  type Page,
} from '../../dashboard/test/browser.js';
import { goTo, rowOf, signIn } from '../../dashboard/test/pages.js';
import type { OperatorRole } from '../src/parties/index.js';
import { cycle, recordingOf } from '../src/run/ward-patients.js';
import { Ward } from '../src/run/ward.js';

const found = findChromium() !== undefined;

/** Rows, ten a second, calm at first; more than the test needs. */
const QUICK = { times: 1, seconds: 0.1 };
const patients = [
  { name: 'calm-1', recording: recordingOf(cycle(3, false), { ...QUICK, times: 10 }) },
  // Once it is worse it stays so.
  {
    name: 'worse-1',
    recording: recordingOf(
      [...cycle(30, true).slice(0, 120), ...Array.from({ length: 30 }, () => worst()).flat()],
      QUICK,
    ),
  },
];

function worst() {
  return cycle(30, true).slice(100, 200);
}

test.runIf(!found)(`the dashboard over real parties: skipped, ${NO_CHROMIUM}`, ({ skip }) => {
  skip();
});

describe.runIf(found)('the dashboard over real parties', () => {
  let browser: Browser;
  let directory: string;
  let ward: Ward;
  let url: string;
  const warnings: string[] = [];

  const open = async (role: OperatorRole): Promise<Page> => {
    const page = await browser.newPage();
    page.setDefaultTimeout(90_000);
    await signIn(page, `${url}/`, ward.access.token(role));
    return page;
  };

  beforeAll(async () => {
    browser = await launchChromium();
    directory = await mkdtemp(join(tmpdir(), 'duoveil-test-'));
    ward = await Ward.prepare({
      ...{ directory, patients, keyBits: 512, engine: 'auto' },
      onWarning: (line) => warnings.push(line),
    });
    url = await ward.startServers();
  });
  afterAll(async () => {
    await browser.close();
    await ward.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test('an alarm rises live, is acknowledged, and is so still after the service provider was killed', async () => {
    const page = await open('operator');
    await page.getByText('No patient is enrolled yet.').waitFor();
    await ward.startPatients();
    await rowOf(page, 'worse-1').getByText('level 3 of 3').waitFor();
    await page.getByRole('log').getByText('New alarm: worse-1, level 3').waitFor();
    // Whoever needs somebody is on top.
    const [, first] = await page.getByRole('row').all();
    expect(await first?.getByRole('link').textContent()).toBe('worse-1');

    await rowOf(page, 'worse-1').getByRole('link').click();
    await page.getByRole('heading', { name: 'worse-1' }).waitFor();
    await page.getByRole('button', { name: /^Acknowledge/ }).click();
    await page
      .getByRole('cell', { name: /^operator, / })
      .first()
      .waitFor();
    await page.getByRole('cell', { name: 'the first one' }).waitFor();

    ward.servers.sp.kill();
    await page.getByText('Connection lost').waitFor();
    const before = await sampleShown(page);
    await page.getByText('Connection lost').waitFor({ state: 'detached' });
    await page
      .getByRole('cell', { name: /^operator, / })
      .first()
      .waitFor();
    // Samples go on, and so does the page.
    await expect.poll(() => sampleShown(page), { timeout: 60_000 }).toBeGreaterThan(before);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByText('You are signed out.').waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.close();
  });

  test('a viewer sees everything and may do nothing', async () => {
    const page = await open('viewer');
    await goTo(page, '#/patients/worse-1', 'worse-1');
    await page.getByText(/, sample \d/).waitFor();
    expect(await page.getByRole('main').getByRole('button').count()).toBe(0);
    expect(await statusOf(page, 'POST', '/patients/worse-1/relearn')).toBe(403);
    await goTo(page, '#/system', 'System');
    await page.getByText('unsealed').waitFor();
    await page.close();
  });

  test('an operator has a baseline learnt anew, and alarms kept quiet', async () => {
    const page = await open('operator');
    expect(await statusOf(page, 'POST', '/patients/nobody/relearn')).toBe(404);
    await goTo(page, '#/patients/calm-1', 'calm-1');
    await page.getByRole('button', { name: 'Suppress alarms' }).click();
    await page.getByLabel('Reason').fill('Physiotherapy');
    await page.getByRole('button', { name: 'Suppress', exact: true }).click();
    await page.getByText(/Suppressed by operator until .*: Physiotherapy/).waitFor();
    await page.getByRole('button', { name: 'Learn a new baseline' }).click();
    await page.getByRole('button', { name: 'Learn anew' }).click();
    await page.getByRole('cell', { name: 'asked for by operator' }).waitFor();
    await goTo(page, '#/alarms', 'Alarms');
    await page.getByRole('combobox', { name: 'Acknowledged' }).selectOption('yes');
    await page
      .getByRole('cell', { name: /level 3 in \d+ of/ })
      .first()
      .waitFor();
    await page.close();
  });

  test('nothing went wrong but what was made to', () => {
    expect(warnings.filter((line) => line.includes('"level":"error"'))).toEqual([]);
  });
});

async function sampleShown(page: Page): Promise<number> {
  const text = (await page.locator('.readout').textContent()) ?? '';
  return Number(/sample ([\d,]+)/.exec(text)?.[1]?.replace(',', '') ?? NaN);
}

/** The status of a call that the page itself would not make: with the session's cookie and token. */
async function statusOf(page: Page, method: string, path: string): Promise<number> {
  return page.evaluate(`fetch('api/v1/session')
    .then((answer) => answer.json())
    .then(({ csrfToken }) => fetch(${JSON.stringify(`api/v1${path}`)}, {
      method: ${JSON.stringify(method)}, headers: { 'x-csrf-token': csrfToken },
    }))
    .then(({ status }) => status)`);
}
