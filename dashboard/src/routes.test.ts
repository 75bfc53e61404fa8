import { expect, test } from 'vitest';

import { visibleRows } from './parts/windowed.js';
import { parseRoute, patientAddress } from './routes.js';

test.each([
  ['', { page: 'fleet' }],
  ['#/nowhere', { page: 'fleet' }],
  ['#/patients/', { page: 'fleet' }],
  ['#/alarms', { page: 'alarms' }],
  ['#/system', { page: 'system' }],
  ['#/patients/%E0%A4%A', { page: 'patient', patient: '%E0%A4%A' }],
  ['#/sign-in?token=a%2Bb', { page: 'sign-in', token: 'a+b' }],
] as const)('%s', (hash, route) => {
  expect(parseRoute(hash)).toEqual(route);
});

test('a patient has an address, whatever the pseudonym', () => {
  for (const patient of ['ward-1', 'a/b?c#d', 'Å 1']) {
    expect(parseRoute(patientAddress(patient))).toEqual({ page: 'patient', patient });
  }
});

test('only rows that are to be seen are drawn, with some to spare', () => {
  expect(visibleRows(-300, 900, 50, 1_000)).toEqual({ first: 0, end: 22 });
  expect(visibleRows(25_000, 900, 50, 1_000)).toEqual({ first: 490, end: 528 });
  expect(visibleRows(49_500, 900, 50, 1_000)).toEqual({ first: 980, end: 1_000 });
  // The list has become shorter than the page is scrolled.
  expect(visibleRows(49_500, 900, 50, 3)).toEqual({ first: 2, end: 3 });
  expect(visibleRows(0, 900, 50, 0)).toEqual({ first: 0, end: 0 });
});
