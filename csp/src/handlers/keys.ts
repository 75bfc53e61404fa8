import { requireMeant, type Bcp } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { implement, parsePatientId, unary, type Service } from '@duoveil/common/runtime';
import { KeyServiceService } from '@duoveil/proto';

import type { PatientKeys } from '../keys/patient-keys.js';

/** Who may make the call. */
export const keyOptions = { roles: ['sp'] } as const;

/** Registration of patients' public keys, for service providers only. */
export function keyService(bcp: Bcp, keys: PatientKeys): Service {
  return implement(KeyServiceService, {
    registerKey: unary(keyOptions, async ({ patientId, parametersDigest, publicKey, proof }) => {
      const patient = parsePatientId(patientId, 'patient_id');
      requireMeant(bcp.parameters, parametersDigest);
      if (publicKey === undefined) throw missing('public_key');
      if (proof === undefined) throw missing('proof');
      return { keyId: await keys.register(patient, { publicKey: publicKey.h, ...proof }) };
    }),
  });
}

function missing(field: string): Error {
  return duoveilError('MESSAGE_INVALID', `${field} is missing`, { field });
}
