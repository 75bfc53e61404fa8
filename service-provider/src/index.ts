export { spSettings } from './config.js';
export type { SpSettings } from './config.js';
export { serve } from './serve.js';
