/** What routes share. */
import { z } from 'zod';

import { problemSchema } from '../problem.js';
import { patientName } from '../wire.js';

/** In place of an answer, whatever was wrong. */
export const problems = {
  default: {
    description: 'What was wrong',
    content: { 'application/problem+json': { schema: problemSchema } },
  },
};

/** An answer without a body. */
export const nothing = z.undefined().describe('Done');

/** The patient in a path. */
export const patientPath = z.strictObject({ id: patientName });
