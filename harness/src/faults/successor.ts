/** Another generation of keys, made while everything is under way, and the service provider for it. */
import type { ParametersDigest, PublicParameters } from '@duoveil/common/bcp';
import { isDuoveilError } from '@duoveil/common/errors';
import { systemRandom } from '@duoveil/common/random';
import { isTransient, retrying, type Tls } from '@duoveil/common/runtime';

import { within } from '../parties/deadlines.js';
import type { Servers, Successor } from '../parties/servers.js';
import { CspProxy, type Meddling } from './csp-proxy.js';
import { DEADLINE_MS } from './deadlines.js';
import { SpProxy } from './sp-proxy.js';

/** What a next generation is made from. */
export interface GenerationOptions {
  readonly servers: Servers;
  readonly asCsp: Tls;
  readonly asSp: Tls;
  /** What is done to the calls of its service provider. */
  readonly meddle: Meddling;
  readonly fetchParameters: (digest: ParametersDigest) => Promise<PublicParameters>;
}

/** See the file's comment. */
export class NextGeneration {
  readonly digest: ParametersDigest;
  readonly parameters: PublicParameters;
  readonly successor: Successor;
  /** What stands between gateways and the service provider. */
  readonly sp: SpProxy;
  readonly #csp: CspProxy;

  private constructor(
    parameters: PublicParameters,
    successor: Successor,
    proxies: { readonly sp: SpProxy; readonly csp: CspProxy },
  ) {
    this.digest = parameters.digest;
    this.parameters = parameters;
    this.successor = successor;
    this.sp = proxies.sp;
    this.#csp = proxies.csp;
  }

  /** Rotates the keys, whatever happens to the CSP meanwhile, and starts the service provider. */
  static async make(options: GenerationOptions): Promise<NextGeneration> {
    const { servers, asCsp, asSp, meddle } = options;
    const digest = await rotated(servers);
    const parameters = await stubbornly(() => options.fetchParameters(digest));
    const behind = { address: servers.cspAddress, asCsp, asSp, parametersDigest: digest };
    const csp = new CspProxy(behind);
    csp.meddle = meddle;
    await csp.start();
    const starting = servers.startSuccessor(digest, csp.address);
    const successor = await within(DEADLINE_MS.start, 'starting the next sp', starting);
    const sp = new SpProxy({ address: successor.address, asSp });
    await sp.start();
    return new NextGeneration(parameters, successor, { sp, csp });
  }

  /** Ends what stands between the parties; the service provider is one of the servers. */
  async stop(): Promise<void> {
    await this.#csp.stop();
    await this.sp.stop();
  }
}

/** Draws another generation of keys. */
export function rotated(servers: Servers): Promise<ParametersDigest> {
  return stubbornly(() => servers.rotate());
}

/** As a custodian does it by hand: again, where the CSP was away or had no room on its disk. */
function stubbornly<T>(work: () => Promise<T>): Promise<T> {
  return retrying(work, {
    ...{ deadlineMs: DEADLINE_MS.operation, baseMs: 500, maxMs: 500, random: systemRandom },
    isRetryable: (error) => isTransient(error) || isDuoveilError(error, 'STORAGE_FULL'),
  });
}
