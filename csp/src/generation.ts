import { Bcp, encodeParameters } from '@duoveil/common/bcp';
import { MasterDecryption } from '@duoveil/common/master';
import type { ModularEngine } from '@duoveil/common/modular';
import { AdditiveKey, CrtOpening } from '@duoveil/common/paillier';
import { systemRandom } from '@duoveil/common/random';
import { implement, unary, type Service } from '@duoveil/common/runtime';
import { ParametersServiceService } from '@duoveil/proto';

import type { Discipline } from './audit/discipline.js';
import { arithmeticService } from './handlers/arithmetic.js';
import { keyService } from './handlers/keys.js';
import { packedService } from './handlers/packed.js';
import type { OpenGeneration } from './keys/custody.js';
import { deriveKeys } from './keys/derived-keys.js';
import { Models } from './keys/models.js';
import { PatientKeys } from './keys/patient-keys.js';
import { ProviderKeys } from './keys/provider-keys.js';
import type { ServedGeneration } from './keys/unsealed.js';
import { Comparisons } from './sessions/comparisons.js';
import { TransferSessions } from './sessions/transfers.js';

/** Who may ask for the parameters. */
export const parametersOptions = { roles: ['sp', 'operator', 'auditor'] } as const;

/** Everything that answers the calls of one generation of keys. */
export async function serveGeneration(
  { key: master }: OpenGeneration,
  discipline: Discipline,
  engine: ModularEngine,
): Promise<ServedGeneration> {
  const { parameters, factors } = master;
  const bcp = new Bcp(parameters, engine);
  const keys = new PatientKeys(bcp);
  const { sealing, answers } = deriveKeys(master);
  const decryption = await MasterDecryption.create(master, engine);
  const services: Service[] = [
    implement(ParametersServiceService, {
      getParameters: unary(parametersOptions, () =>
        Promise.resolve({ parameters: encodeParameters(parameters) }),
      ),
    }),
    keyService(bcp, keys),
    arithmeticService({ bcp, keys, decryption, random: systemRandom, discipline }),
  ];
  if (parameters.family === 'residue') {
    services.push(
      packedService({
        own: {
          key: new AdditiveKey(parameters, engine),
          opening: new CrtOpening(factors, engine),
        },
        keys,
        providers: new ProviderKeys(engine, parameters.bits, answers),
        models: new Models(sealing, parameters.bits, parameters.digest),
        answers,
        random: systemRandom,
        discipline,
        sessions: new TransferSessions(systemRandom),
        comparisons: new Comparisons(systemRandom),
      }),
    );
  }
  return {
    services,
    wipe: () => {
      sealing.forget();
      answers.forget();
      factors.forget();
    },
  };
}
