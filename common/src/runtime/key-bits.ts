import { duoveilError } from '../errors.js';

/** The least |N| that is considered secure, in bits. */
const SECURE_MODULUS_BITS = 2048;

/**
 * Short moduli are for tests and demonstrations, and only on request.
 * @throws OPTION_INVALID
 */
export function requireSecureBits(bits: number, insecureAllowed: boolean): void {
  if (bits < SECURE_MODULUS_BITS && !insecureAllowed) {
    throw duoveilError(
      'OPTION_INVALID',
      `a modulus of ${bits} bits is not secure: use at least ${SECURE_MODULUS_BITS}, or add ` +
        '--insecure-key-bits for a test',
      { option: '--insecure-key-bits' },
    );
  }
}
