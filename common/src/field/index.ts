export { invertMatrix, multiplyMatrices, uniformInvertible } from './matrix.js';
export type { InvertedMatrix, Matrix } from './matrix.js';
export { FIELDS, smallestField } from './primes.js';
export type { PrimeField } from './primes.js';
