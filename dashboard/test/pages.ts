/** Steps that tests of the pages share. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

import type { Locator, Page } from 'playwright-core';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** Open the dashboard and sign in by a token; the fleet is shown then. */
export async function signIn(page: Page, address: string, token: string): Promise<void> {
  await page.goto(address);
  await page.getByLabel('Operator token').fill(token);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('heading', { name: 'Fleet' }).waitFor();
}

/** Go to a page by its address, and wait until its heading is there. */
export async function goTo(page: Page, hash: string, heading: string): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
  await page.getByRole('heading', { level: 1, name: heading }).waitFor();
}

/** A patient's row in the fleet. */
export function rowOf(page: Page, patient: string): Locator {
  return page
    .getByRole('row')
    .filter({ has: page.getByRole('link', { name: patient, exact: true }) });
}

/** What axe-core finds wrong with the page as it is: rule and element. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  // Into the page's own world without a script element: the page's policy forbids that.
  if ((await page.evaluate('typeof axe')) === 'undefined') {
    await page.evaluate(await readFile(AXE, 'utf8'));
  }
  return page.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) =>
      id + ' at ' + target.join(' ') + ': ' + failureSummary)))`);
}

/** By how many pixels the page is wider than the screen. */
export async function overflow(page: Page): Promise<number> {
  return page.evaluate('document.documentElement.scrollWidth - innerWidth');
}
