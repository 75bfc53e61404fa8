import { join } from 'node:path';

import {
  createAuthority,
  credentialFiles,
  defaultTrustDomain,
  issueCertificate,
  loadTls,
  writeCredentials,
  type Authority,
  type PatientId,
  type Tls,
} from '@duoveil/common/runtime';

/** A gateway's certificate, on disk and read. */
export interface GatewayCertificate {
  readonly directory: string;
  readonly tls: Tls;
}

/** Gateways' certificates, one a patient: to make one takes longer than most that is done with it. */
export class GatewayCertificates {
  readonly authority: Authority;
  readonly #directory: string;
  readonly #issued = new Map<PatientId, Promise<GatewayCertificate>>();

  private constructor(authority: Authority, directory: string) {
    this.authority = authority;
    this.#directory = directory;
  }

  /** @param directory an existing one, for the certificates */
  static async create(directory: string): Promise<GatewayCertificates> {
    const commonName = 'duoveil fault simulation';
    const authority = await createAuthority({ commonName, days: 7, now: new Date() });
    return new GatewayCertificates(authority, directory);
  }

  /** The certificate of a patient's gateway. */
  of(patient: PatientId): Promise<GatewayCertificate> {
    const issued = this.#issued.get(patient) ?? this.#issue(patient);
    this.#issued.set(patient, issued);
    return issued;
  }

  async #issue(patient: PatientId): Promise<GatewayCertificate> {
    const identity = { trustDomain: defaultTrustDomain, role: 'gateway', patient } as const;
    const request = { identity, hosts: ['127.0.0.1'], days: 7, now: new Date() };
    const directory = join(this.#directory, patient);
    await writeCredentials(directory, await issueCertificate(this.authority, request));
    return { directory, tls: await loadTls(credentialFiles(directory)) };
  }
}
