/** Both servers' roles in one process, over public test primes: for tests and benchmarks. */
export { LocalBlindedArithmetic } from './arithmetic.js';
export { localParties, setUpForTests } from './parties.js';
export type { LocalParties } from './parties.js';
export { QueuedRandom, RecordingRandom, SeededRandom } from './randomness.js';
export { PUBLIC_TEST_PRIMES } from './test-primes.js';
export type { TestModulusBits } from './test-primes.js';
