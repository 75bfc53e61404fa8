/** From readings to integers and back: schemas, quantisation, bounds, thresholds, exact rationals. */
export * from './bounds.js';
export * from './channel-codec.js';
export * from './chi-square.js';
export * from './decimal.js';
export * from './fits.js';
export * from './packing-plan.js';
export * from './policy.js';
export * from './quantise.js';
export * from './rational.js';
export * from './scale.js';
export * from './schema.js';
export * from './threshold.js';
