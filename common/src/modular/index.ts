export type { Exposure, FixedBase, ModularEngine, PowerJob, Ring } from './engine.js';
export { createPortableEngine } from './portable.js';
export type { PortableEngineOptions } from './portable.js';
