import { duoveilError } from '../errors.js';

declare const patientIdBrand: unique symbol;

/**
 * A patient's pseudonym: 1 to 64 of `[A-Za-z0-9._-]`, neither `.` nor `..`. It may therefore stand
 * in a URI, a file name or a log line as it is.
 */
export type PatientId = string & { readonly [patientIdBrand]: true };

const pattern = /^[A-Za-z0-9._-]{1,64}$/;

/** Does the text have the form of a pseudonym? */
export function isPatientId(text: string): text is PatientId {
  return pattern.test(text) && text !== '.' && text !== '..';
}

/**
 * Checks a pseudonym.
 * @param where the field or option it came from, for the message
 * @throws MESSAGE_INVALID
 */
export function parsePatientId(text: string, where: string): PatientId {
  if (isPatientId(text)) return text;
  // The text itself is left out: whoever got the field wrong may have put a name there.
  throw duoveilError(
    'MESSAGE_INVALID',
    `${where} must be 1 to 64 characters of A-Z, a-z, 0-9, dot, underscore and hyphen`,
    { field: where },
  );
}
