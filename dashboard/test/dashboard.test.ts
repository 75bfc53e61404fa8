/** The pages in a real browser, over made-up patients: every page, both schemes, and what can go wrong. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { findChromium, launchChromium, NO_CHROMIUM } from './browser.js';
import { RULES, type FakeFleet } from './fake-fleet.js';
import { FakeServer } from './fake-server.js';
import { accessibilityProblems, goTo, overflow, rowOf, signIn } from './pages.js';
import { many, ward } from './scenes.js';

const found = findChromium() !== undefined;

test.runIf(!found)(`the dashboard's pages: skipped, ${NO_CHROMIUM}`, ({ skip }) => {
  skip();
});

describe.runIf(found)("the dashboard's pages", () => {
  let browser: Browser;
  let server: FakeServer;
  let fleet: FakeFleet;
  let page: Page;
  /** What the browser complained about: scripts that failed, and what the policy forbids. */
  let complaints: string[];

  const open = async (patients: FakeFleet): Promise<void> => {
    fleet = patients;
    server = await FakeServer.start(fleet);
  };

  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser.close();
  });
  beforeEach(async () => {
    complaints = [];
    page = await browser.newPage({ viewport: { width: 1180, height: 800 } });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      const refusal = message.text().includes('Failed to load resource');
      if (message.type() === 'error' && !refusal) complaints.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(server.address)) complaints.push(`asks ${request.url()}`);
    });
  });
  afterEach(async () => {
    await page.close();
    await server.stop();
    expect(complaints).toEqual([]);
  });

  test('sign in with a token, and sign out', async () => {
    await open(ward());
    await page.goto(`${server.address}#/alarms`);
    const provider = page.getByRole('link', { name: 'Sign in with Example Hospital' });
    expect(await provider.getAttribute('href')).toBe('api/v1/oidc/start');
    await page.getByLabel('Operator token').fill('wrong');
    await page.getByLabel('Operator token').press('Enter');
    await page.getByText('the token is not known').waitFor();
    await page.goto(`${server.address}?problem=SIGN_IN_FAILED#/alarms`);
    await page.getByText('Signing in at the identity provider failed (SIGN_IN_FAILED).').waitFor();
    expect(page.url()).toBe(`${server.address}#/alarms`);
    await page.getByLabel('Operator token').fill('operator-token');
    await page.getByLabel('Operator token').press('Enter');
    // Where one wanted to go is where one arrives.
    await page.getByRole('heading', { name: 'Alarms' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Alarms' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByText('You are signed out.').waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(await page.getByText('ward-a').count()).toBe(0);
  });

  test('a link with a token in it signs in, and does not stay in the history', async () => {
    await open(ward());
    await page.goto(`${server.address}#/sign-in?token=operator-token`);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('heading', { name: 'Fleet' }).waitFor();
    expect(page.url()).toBe(`${server.address}#/fleet`);
  });

  test('an alarm rises live, is told of and is acknowledged', async () => {
    await open(ward());
    await signIn(page, server.address, 'operator-token');
    const row = rowOf(page, 'ward-a-08');
    await row.getByText('level 0 of 3').waitFor();
    fleet.sample('ward-a-08', 3);
    await row.getByText('level 3 of 3').waitFor();
    const raised = fleet.raise('ward-a-08', { kind: 'level', rule: RULES[3] });
    const log = page.getByRole('log', { name: 'Notices' });
    await log.getByText('New alarm: ward-a-08, level 3 in 5 of 10 samples').waitFor();
    await row.getByText('Level 3').waitFor();
    await page.getByRole('link', { name: 'Alarms 4 not acknowledged' }).waitFor();

    await row.getByRole('link').click();
    await page.getByRole('heading', { name: 'ward-a-08' }).waitFor();
    await page.getByRole('button', { name: 'Acknowledge the alarm' }).click();
    await page.getByRole('cell', { name: /operator, / }).waitFor();
    expect(fleet.detail('ward-a-08')?.history[0]).toMatchObject({
      id: raised.id,
      acknowledged: { by: 'operator' },
    });
    await page.getByRole('link', { name: 'Alarms 3 not acknowledged' }).waitFor();
    // An alarm that is over and acknowledged leaves the fleet's page.
    fleet.change(raised.id, { clearedAt: new Date().toISOString() });
    await page.getByText('No alarm.').waitFor();
  });

  test('rows come in the order that is shown, for whoever hears them read', async () => {
    const names = Array.from({ length: 30 }, (_, i) => `patient-${i + 1}`);
    await page.setViewportSize({ width: 1180, height: 2_000 });
    await open(many(30));
    await signIn(page, server.address, 'viewer-token');
    await rowOf(page, 'patient-30').waitFor();
    const read = (): Promise<string[]> => page.getByRole('rowheader').allTextContents();
    for (const worst of ['patient-30', 'patient-7', 'patient-19']) {
      const { id } = fleet.raise(worst, { kind: 'level', rule: RULES[3] });
      await rowOf(page, worst).getByText('Level 3').waitFor();
      expect((await read())[0]).toBe(worst);
      fleet.change(id, {
        acknowledged: { by: 'a', at: new Date().toISOString() },
        clearedAt: new Date().toISOString(),
      });
      await rowOf(page, worst).getByText('Level 3').waitFor({ state: 'detached' });
    }
    await page.getByLabel('Sort by').selectOption('Patient');
    await expect.poll(read, { timeout: 60_000 }).toEqual(names);
  });

  test('a time line goes on with each sample, drawn and as a table', async () => {
    await open(ward());
    await signIn(page, server.address, 'viewer-token');
    await goTo(page, '#/patients/ward-a-07', 'ward-a-07');
    await page.getByText(/level 3 of 3, sample 649/).waitFor();
    await page.getByText('The same as a table').click();
    const first = page
      .getByRole('table', { name: /Levels over time/ })
      .getByRole('row')
      .nth(1);
    await first.getByText('level 3 of 3').waitFor();
    fleet.sample('ward-a-07', 1);
    await page.getByText(/level 1 of 3, sample 650/).waitFor();
    await first.getByText('level 1 of 3').waitFor();
    // More than a summary holds was missed: the time line is read again.
    for (let i = 0; i < 70; i++) fleet.sample('ward-a-07', 2);
    await page.getByText(/level 2 of 3, sample 720/).waitFor();
    await first.getByRole('cell', { name: '70', exact: true }).waitFor();
    // Nobody who may only look is shown what to do.
    expect(await page.getByRole('main').getByRole('button').count()).toBe(0);
    await goTo(page, '#/alarms', 'Alarms');
    await page.getByRole('cell', { name: 'level 1 or more' }).waitFor();
    expect(await page.getByRole('checkbox').count()).toBe(0);
  });

  test('alarms are suppressed with a reason and an end, and baselines learnt anew', async () => {
    await open(ward());
    await signIn(page, server.address, 'operator-token');
    await goTo(page, '#/patients/ward-a-08', 'ward-a-08');
    await page.getByRole('button', { name: 'Suppress alarms' }).click();
    const dialog = page.getByRole('dialog', { name: 'Suppress alarms of ward-a-08' });
    await dialog.getByLabel('For').selectOption('4 hours');
    await dialog.getByRole('button', { name: 'Suppress' }).click();
    // Without a reason it stays open.
    await dialog.getByLabel('Reason').fill('Surgery');
    await dialog.getByRole('button', { name: 'Suppress' }).click();
    await page.getByText(/Suppressed by operator until .*: Surgery/).waitFor();
    const { until = '', at = '' } = fleet.detail('ward-a-08')?.suppression ?? {};
    expect(Math.round((Date.parse(until) - Date.parse(at)) / 60_000)).toBe(240);
    await page.getByRole('button', { name: 'End the suppression' }).click();
    await page.getByText('No alarm.').waitFor();
    // As long as the server allows, with room for clocks that differ.
    await page.getByRole('button', { name: 'Suppress alarms' }).click();
    await dialog.getByLabel('For').selectOption('24 hours');
    await dialog.getByLabel('Reason').fill('Transfer');
    await dialog.getByRole('button', { name: 'Suppress' }).click();
    await page.getByText(/Suppressed by operator until .*: Transfer/).waitFor();
    const day = fleet.detail('ward-a-08')?.suppression;
    const ms = Date.parse(day?.until ?? '') - Date.parse(day?.at ?? '');
    expect(Math.round(ms / 60_000)).toBe(24 * 60 - 1);

    const relearn = page.getByRole('button', { name: 'Learn a new baseline' });
    await relearn.focus();
    await page.keyboard.press('Enter');
    const question = page.getByRole('dialog', { name: 'Learn a new baseline for ward-a-08?' });
    await question.waitFor();
    await page.keyboard.press('Escape');
    await question.waitFor({ state: 'detached' });
    expect(fleet.detail('ward-a-08')?.state).toBe('monitoring');
    // The browser gives the focus back to where it was.
    expect(await page.evaluate('document.activeElement.textContent')).toContain('Learn a new');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Learn anew' }).click();
    await page.getByText('Learning the baseline').waitFor();
    expect(fleet.detail('ward-a-08')?.state).toBe('learning');
  });

  test('a baseline that is learnt shows on a page that is open', async () => {
    await open(ward());
    await signIn(page, server.address, 'viewer-token');
    await goTo(page, '#/patients/ward-a-08', 'ward-a-08');
    const listed = page.getByRole('table', { name: 'Baselines' }).getByRole('row');
    await listed.nth(1).getByText('the first one').waitFor();
    for (const count of [2, 3]) {
      fleet.train('ward-a-08');
      await listed.nth(count).waitFor();
      await listed.nth(1).getByText('rolling baseline').waitFor();
      expect(await listed.nth(1).getByRole('cell').first().textContent()).toBe(String(count));
    }
  });

  test('what the server refuses is said in its words', async () => {
    await open(ward());
    await signIn(page, server.address, 'operator-token');
    await goTo(page, '#/patients/nobody', 'nobody');
    await page.getByText('nobody is not enrolled').waitFor();
    await goTo(page, '#/patients/ward-a-07', 'ward-a-07');
    await page.getByRole('button', { name: 'Learn a new baseline' }).click();
    server.refusing = true;
    await page.getByRole('button', { name: 'Learn anew' }).click();
    await page.getByRole('alert').getByText('the service provider is starting').waitFor();
  });

  test('alarms are filtered, and acknowledged many at once', async () => {
    await open(ward());
    await signIn(page, server.address, 'operator-token');
    await goTo(page, '#/alarms', 'Alarms');
    await page.getByText('3 alarms, the latest first').waitFor();
    await page.getByLabel('Kind').selectOption('silent device');
    await page.getByText('1 alarm, the latest first').waitFor();
    await page.getByLabel('Kind').selectOption('all');
    await page.getByLabel('Patient').fill('07');
    await page.getByText('2 alarms, the latest first').waitFor();
    await page.getByRole('button', { name: 'Select all 2' }).click();
    await page.getByRole('button', { name: 'Acknowledge 2' }).click();
    await page.getByText('No alarm matches.').waitFor();
    await page.getByRole('combobox', { name: 'Acknowledged' }).selectOption('yes');
    await page.getByText('3 alarms, the latest first').waitFor();
    await page.getByRole('combobox', { name: 'Acknowledged' }).selectOption('all');
    await page.getByLabel('Patient').fill('');
    await page.getByText('5 alarms, the latest first').waitFor();
    // One that is raised now comes to the top by itself.
    fleet.raise('ward-a-01', {
      kind: 'gap',
      from: new Date(0).toISOString(),
      to: new Date(0).toISOString(),
    });
    await page.getByText('6 alarms, the latest first').waitFor();
    await page.getByRole('row').nth(1).getByRole('link', { name: 'ward-a-01' }).waitFor();
  });

  test('a lost connection is said, and the state is right again after it', async () => {
    await open(ward());
    await signIn(page, server.address, 'viewer-token');
    await rowOf(page, 'ward-a-08').getByText('level 0 of 3').waitFor();
    server.refusing = true;
    server.dropConnections();
    await page.getByText('Connection lost. Showing the state of').waitFor();
    fleet.sample('ward-a-08', 2);
    fleet.raise('ward-a-08', { kind: 'level', rule: RULES[1] });
    fleet.enrol('ward-a-13', 100, Date.now());
    await rowOf(page, 'ward-a-08').getByText('level 0 of 3').waitFor();
    // Trying is of no use yet; once it is, the page finds out by itself.
    await page.getByRole('button', { name: 'Try now' }).click();
    server.refusing = false;
    await rowOf(page, 'ward-a-08').getByText('level 2 of 3').waitFor();
    await page.getByText('New alarm: ward-a-08').waitFor();
    await rowOf(page, 'ward-a-13').waitFor();
    expect(await page.getByText('Connection lost').count()).toBe(0);
    // It is live again, without anybody having asked a second time.
    server.refusing = true;
    server.dropConnections();
    await page.getByText('Connection lost').waitFor();
    server.refusing = false;
    await page.getByText('Connection lost').waitFor({ state: 'detached' });
    fleet.sample('ward-a-08', 1);
    await rowOf(page, 'ward-a-08').getByText('level 1 of 3').waitFor();
  });

  test('nothing of the fleet stays when the session has ended', async () => {
    await open(ward());
    await signIn(page, server.address, 'viewer-token');
    await rowOf(page, 'ward-a-07').waitFor();
    server.endSessions();
    await page.getByRole('link', { name: 'System' }).click();
    await page.getByText('Your session has ended. Please sign in again.').waitFor();
    expect(await page.getByText('ward-a').count()).toBe(0);
  });

  test('1,000 patients: few rows are drawn, and all are found', async () => {
    await open(many(1_000));
    await signIn(page, server.address, 'viewer-token');
    await page.getByText('1000 patients').waitFor();
    await page.getByLabel('Sort by').selectOption('Patient');
    await rowOf(page, 'patient-1').waitFor();
    expect(await page.getByRole('row').count()).toBeLessThan(60);
    expect(await page.getByRole('table').getAttribute('aria-rowcount')).toBe('1001');
    await page.evaluate('scrollTo(0, document.documentElement.scrollHeight)');
    const last = rowOf(page, 'patient-1000');
    await last.waitFor();
    expect(await last.getAttribute('aria-rowindex')).toBe('1001');
    await page.getByRole('button', { name: 'Patient' }).click();
    await page.evaluate('scrollTo(0, 0)');
    await rowOf(page, 'patient-1000').waitFor();
    expect(
      await page.getByRole('columnheader', { name: 'Patient' }).getAttribute('aria-sort'),
    ).toBe('descending');
    // Every patient's samples of some seconds at once: the page shows the last of each.
    for (let round = 0; round < 3; round++) {
      for (let i = 1; i <= 1_000; i++)
        fleet.sample(`patient-${i}`, i === 500 ? 3 : round === 2 ? 1 : 0);
    }
    await rowOf(page, 'patient-1000').getByText('level 1 of 3').waitFor();
    await page.getByLabel('Sort by').selectOption('Level now');
    await page.getByRole('row').nth(1).getByRole('link', { name: 'patient-500' }).waitFor();
    await page.getByLabel('Search').fill('t-77');
    await page.getByRole('table', { name: 'Patients' }).waitFor();
    expect(await page.getByRole('table').getAttribute('aria-rowcount')).toBe('12');
  });

  test('everything is done by the keyboard', async () => {
    await open(ward());
    await signIn(page, server.address, 'operator-token');
    await rowOf(page, 'ward-a-07').waitFor();
    const focused = (): Promise<string> => page.evaluate('document.activeElement.textContent');
    expect(await focused()).toBe('Fleet');
    // From the heading on: the search, the order, the columns' heads, then the first patient.
    await page.keyboard.press('Tab');
    await page.keyboard.type('ward-a-0');
    for (let i = 0; i < 6; i++) await page.keyboard.press('Tab');
    expect(await focused()).toBe('ward-a-07');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'ward-a-07' }).waitFor();
    expect(await focused()).toBe('ward-a-07');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Space');
    await page
      .getByRole('cell', { name: /operator, / })
      .first()
      .waitFor();
    // The first thing that takes the focus leads past the header.
    expect(await page.evaluate("document.querySelector('a, button, input').textContent")).toBe(
      'Skip to the content',
    );
    await page.getByRole('link', { name: 'Skip to the content' }).focus();
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('content');
  });

  test.each(['light', 'dark'] as const)(
    'axe finds nothing on any page, %s',
    async (colorScheme) => {
      await open(ward());
      await page.emulateMedia({ colorScheme });
      const look = async (where: string): Promise<void> => {
        for (const width of [1180, 360]) {
          await page.setViewportSize({ width, height: 740 });
          expect([where, width, await accessibilityProblems(page)]).toEqual([where, width, []]);
          expect([where, width, await overflow(page)]).toEqual([where, width, 0]);
        }
      };
      await page.goto(server.address);
      await page.getByLabel('Operator token').waitFor();
      await look('sign-in');
      await signIn(page, server.address, 'operator-token');
      await rowOf(page, 'ward-a-07').waitFor();
      fleet.raise('ward-a-01', { kind: 'level', rule: RULES[3] });
      await page.getByText('New alarm').waitFor();
      await look('fleet');
      await goTo(page, '#/patients/ward-a-07', 'ward-a-07');
      await page.getByText('The same as a table').click();
      await look('patient');
      await page.getByRole('button', { name: 'Suppress alarms' }).click();
      await look('dialog');
      await page.keyboard.press('Escape');
      await goTo(page, '#/alarms', 'Alarms');
      await page.getByRole('table', { name: 'Alarms' }).waitFor();
      await look('alarms');
      await goTo(page, '#/system', 'System');
      await page.getByText('unsealed').waitFor();
      await look('system');
      server.refusing = true;
      server.dropConnections();
      await page.getByText('Connection lost').waitFor();
      await look('connection lost');
    },
  );

  test('what is not accessible, or too wide, is found', async () => {
    await open(ward());
    await page.goto(server.address);
    await page.getByLabel('Operator token').waitFor();
    await page.evaluate(`
      const input = document.createElement('input');
      input.style.width = '2000px';
      document.querySelector('main').append(input);
    `);
    expect((await accessibilityProblems(page)).join()).toContain('label at');
    expect(await overflow(page)).toBeGreaterThan(0);
  });
});
