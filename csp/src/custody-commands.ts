/** What custodians do at a running CSP, from the command line. */
import { duoveilError } from '@duoveil/common/errors';
import { callUnary, connect, credentialFiles, loadTls } from '@duoveil/common/runtime';
import type { Connection } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';
import {
  CustodyServiceService as Service,
  LockKind,
  type Custody,
  type CustodyLock,
  type KeyGeneration,
  type UnsealRequest,
} from '@duoveil/proto';

import { readShare } from './keys/shares.js';
import { givenSecrets, type SecretSettings } from './unsealing-secrets.js';

/** Where the CSP is, and who asks. */
export interface RunningCsp {
  readonly csp: string;
  readonly tls: string;
}

const SOON = { deadlineMs: 120_000 } as const;
/** Drawing a master key: seconds as a rule, minutes where fortune is against it. */
const DRAWING = { deadlineMs: 1_800_000 } as const;

/** Where a CSP stands. */
export async function status(at: RunningCsp): Promise<string> {
  return describe(await asking(at, (csp) => callUnary(csp, Service.getCustody, {}, SOON)));
}

/** Offer the one secret among the settings. */
export async function unseal(
  settings: RunningCsp & SecretSettings & { readonly share?: Secret<string> | undefined },
): Promise<string> {
  const request = offerOf(settings);
  return describe(await asking(settings, (csp) => callUnary(csp, Service.unseal, request, SOON)));
}

/** Have all keys dropped. */
export async function sealKeys(at: RunningCsp): Promise<string> {
  return describe(await asking(at, (csp) => callUnary(csp, Service.seal, {}, SOON)));
}

/** Have a new generation drawn; the digest of its parameters stands on the last line. */
export async function rotate(at: RunningCsp): Promise<string> {
  const custody = await asking(at, (csp) => callUnary(csp, Service.rotate, {}, DRAWING));
  const digest = custody.generations.at(-1)?.parametersDigest.toString('hex') ?? '';
  return `${describe(custody)}parameters digest of the new generation, to be pinned by everybody:\n${digest}\n`;
}

/** Have a generation's master key deleted. */
export async function retire(at: RunningCsp & { readonly generation: number }): Promise<string> {
  const { generation } = at;
  return describe(await asking(at, (csp) => callUnary(csp, Service.retire, { generation }, SOON)));
}

async function asking(
  { csp, tls }: RunningCsp,
  call: (connection: Connection) => Promise<{ readonly custody: Custody | undefined }>,
): Promise<Custody> {
  const connection = connect({
    address: csp,
    tls: await loadTls(credentialFiles(tls)),
    expectRole: 'csp',
  });
  try {
    const { custody } = await call(connection);
    if (custody !== undefined) return custody;
    const { peer } = connection;
    throw duoveilError('PEER_MISBEHAVED', `${peer} did not say where it stands`, { peer });
  } finally {
    connection.close();
  }
}

/** @throws DuoveilError `OPTION_INVALID` where there is not exactly one secret; `CONFIG_INVALID` */
function offerOf(
  settings: SecretSettings & { readonly share?: Secret<string> | undefined },
): UnsealRequest {
  const secrets = givenSecrets(settings);
  const [secret] = secrets;
  if (secrets.length + Number(settings.share !== undefined) !== 1) {
    throw duoveilError(
      'OPTION_INVALID',
      'unseal takes one secret: --share-file, --passphrase-file or --key-file, or DUOVEIL_SHARE, ' +
        'DUOVEIL_PASSPHRASE or DUOVEIL_KEY',
      { option: '--share-file' },
    );
  }
  if (settings.share !== undefined) {
    const { set, index, value } = readShare(settings.share);
    const share = { set: Buffer.from(set, 'hex'), index, value: Buffer.from(value.reveal()) };
    return { offer: { $case: 'share', value: share } };
  }
  if (secret?.kind === 'key') {
    return { offer: { $case: 'key', value: Buffer.from(secret.key.reveal()) } };
  }
  return { offer: { $case: 'passphrase', value: secret?.passphrase.reveal() ?? '' } };
}

function describe({ unsealed, locks, generations, auditSequence, auditHash }: Custody): string {
  const lines = [
    unsealed ? 'unsealed' : 'sealed',
    ...locks.map(describeLock),
    ...generations.map(describeGeneration),
    `audit log: ${String(auditSequence)} entries, ${auditHash.toString('hex')}`,
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function describeLock({ kind, set, threshold, count, given }: CustodyLock): string {
  switch (kind) {
    case LockKind.SHARES: {
      const which = given.length === 0 ? '' : ` (${given.join(', ')})`;
      return (
        `lock: any ${String(threshold)} of ${String(count)} shares of ${set.toString('hex')}; ` +
        `${String(given.length)} of ${String(threshold)} given${which}`
      );
    }
    case LockKind.KEY:
      return 'lock: a key';
    case LockKind.PASSPHRASE:
      return 'lock: a passphrase';
    case LockKind.UNSPECIFIED:
      return 'lock: of a kind that this version does not know';
  }
}

function describeGeneration(generation: KeyGeneration): string {
  const { number, parametersDigest, bits, createdAt, retiredAt } = generation;
  const state = retiredAt === 0n ? 'in service' : `retired ${dateOf(retiredAt)}`;
  return (
    `generation ${String(number)}: ${String(bits)} bits, made ${dateOf(createdAt)}, ${state}, ` +
    `parameters ${parametersDigest.toString('hex')}`
  );
}

function dateOf(seconds: bigint): string {
  return new Date(Number(seconds) * 1000).toISOString();
}
