import { silentLogger } from '@duoveil/common/runtime';
import { afterEach, expect, it } from 'vitest';

import { harden } from './hardening.js';

afterEach(() => process.removeAllListeners('SIGUSR1'));

it.each([
  [['--inspect'], '--inspect'],
  [['--enable-source-maps', '--inspect-brk=0.0.0.0:9229'], '--inspect-brk'],
  [['--heapsnapshot-signal=SIGUSR2'], '--heapsnapshot-signal'],
  [['', '--max-old-space-size=100 --report-on-fatalerror'], '--report-on-fatalerror'],
  [['--heap_prof'], '--heap-prof'],
  [['--report_on_fatalerror'], '--report-on-fatalerror'],
  [['--no-warnings "--inspect=0"'], '--inspect'],
  [['"\\--inspect=0"'], '--inspect'],
])('a process that is started with %j is refused', (options, option) => {
  expect(() => {
    harden(silentLogger(), options);
  }).toThrow(expect.objectContaining({ code: 'OPTION_INVALID', details: { option } }));
});

it('any other is taken, and answers SIGUSR1 itself', () => {
  harden(silentLogger(), ['--enable-source-maps', '--max-old-space-size=100', '']);
  expect(process.listenerCount('SIGUSR1')).toBe(1);
  expect(process.report.reportOnSignal).toBe(false);
});
