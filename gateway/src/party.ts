/** What talks to the service provider in a patient's name. */
import { duoveilError } from '@duoveil/common/errors';
import { loadEngine } from '@duoveil/common/modular';
import type { EngineChoice, ModularEngine } from '@duoveil/common/modular';
import { connect, LiveTls } from '@duoveil/common/runtime';
import type { Connection, Logger, PatientId } from '@duoveil/common/runtime';

/** Where the service provider is, and who calls. */
export interface PartyOptions {
  /** Where the service provider listens, `host:port`. */
  readonly sp: string;
  /** Directory with `ca.crt`, `tls.crt` and `tls.key`. */
  readonly tls: string;
  readonly engine: EngineChoice;
  readonly logger: Logger;
}

/** See the file's comment. */
export interface Party {
  /** As the certificate names it. */
  readonly patient: PatientId;
  readonly trustDomain: string;
  readonly connection: Connection;
  readonly engine: ModularEngine;
  readonly logger: Logger;
  close(): Promise<void>;
}

/**
 * Reads the certificate; the connection is made with the first call.
 * @throws CONFIG_INVALID where a file is missing or wrong
 */
export async function openParty({ sp, tls, engine, logger }: PartyOptions): Promise<Party> {
  const live = await LiveTls.open({ directory: tls, role: 'gateway', logger });
  const { identity } = live;
  const connection = connect({ address: sp, tls: live, expectRole: 'sp' });
  const arithmetic = loadEngine(engine);
  return {
    patient: identity.patient,
    trustDomain: identity.trustDomain,
    connection,
    engine: arithmetic,
    logger,
    close: async () => {
      connection.close();
      live.close();
      await arithmetic.close();
    },
  };
}

/**
 * A state directory is one patient's.
 * @throws CONFIG_INVALID where the certificate names another
 */
export function requirePatient(enrolled: PatientId, named: PatientId, directory: string): void {
  if (enrolled === named) return;
  throw duoveilError(
    'CONFIG_INVALID',
    `--state: ${directory} belongs to ${enrolled}, but the certificate of --tls names ${named}`,
    { path: 'state' },
  );
}
