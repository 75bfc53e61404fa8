/** The oracle: exact results on plaintext that every protocol is compared with. */
export { exactMd2, scoreExact, trainExact } from './model.js';
export type { ExactModel } from './model.js';
export { replay } from './replay.js';
export type { ReplayPolicy, ReplayResult, ReplayRow } from './replay.js';
