export { cspInitSettings, cspSettings } from './config.js';
export type { CspInitSettings, CspSettings } from './config.js';
export { init } from './init.js';
export { serve } from './serve.js';
