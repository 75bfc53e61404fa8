import {
  createPortableEngine,
  loadEngine,
  loadNativeEngine,
  type ModularEngine,
} from '@duoveil/common/modular';

/**
 * The engine that tests run on: `DUOVEIL_TEST_ENGINE` is `native`, `portable` or, by default, `auto`.
 * The portable one has no threads here: tests run beside each other already.
 */
export function testEngine(): ModularEngine {
  const choice = process.env['DUOVEIL_TEST_ENGINE'] ?? 'auto';
  switch (choice) {
    case 'native':
      return loadEngine('native');
    case 'portable':
      return createPortableEngine({ threads: 0 });
    case 'auto':
      return loadNativeEngine() ?? createPortableEngine({ threads: 0 });
    default:
      throw new Error('DUOVEIL_TEST_ENGINE must be native, portable or auto');
  }
}
