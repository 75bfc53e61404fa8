import { duoveilError } from '../errors.js';
import type { ModularEngine } from './engine.js';
import { loadNativeEngine } from './native.js';
import { createPortableEngine } from './portable.js';

/** Which engine to use: `auto` is the native one where it was built, else the portable one. */
export const ENGINE_CHOICES = ['auto', 'native', 'portable'] as const;

export type EngineChoice = (typeof ENGINE_CHOICES)[number];

/**
 * The engine of a process.
 * @throws DuoveilError `CONFIG_INVALID` where the native engine is asked for and was not built.
 */
export function loadEngine(choice: EngineChoice = 'auto'): ModularEngine {
  const native = choice === 'portable' ? undefined : loadNativeEngine();
  if (native !== undefined) return native;
  if (choice === 'native') {
    throw duoveilError(
      'CONFIG_INVALID',
      'engine: the native engine was not built here: install a C compiler and run "npm run build", or choose portable',
      { path: 'engine' },
    );
  }
  return createPortableEngine();
}
