export type {
  Exposure,
  FixedBase,
  FixedProducts,
  ModularEngine,
  PowerJob,
  Ring,
} from './engine.js';
export { createPortableEngine } from './portable.js';
export type { PortableEngineOptions } from './portable.js';
export { ENGINE_CHOICES, loadEngine } from './load.js';
export type { EngineChoice } from './load.js';
export { loadNativeEngine } from './native.js';
