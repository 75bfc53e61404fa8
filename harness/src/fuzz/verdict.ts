/** Is an answer to a bad message one that is documented, and says nothing that it should not? */
import { type ServiceError, status as Status } from '@grpc/grpc-js';
import { decodeError } from '@duoveil/common/runtime';

/** What everybody may know: the parameters' digest, and the name of a service that was asked for. */
const OWN_WORDS = /(?<=whose digest is )[0-9a-f]*|(?<=unknown for service ).*/s;

/** What a server made of a message: undefined where it took it. */
export type Answer = ServiceError | undefined;

/** Stacks, files, and long numbers: keys, ciphertexts, plaintexts. */
const TELLTALE = /\n|\bat [\w.<>]+ \(|file:|node:|\.[jt]s\b|[0-9a-f]{40}|\d{25}/i;

/** The codes that a bad request may be answered with, by the path of the call. */
export type AllowedCodes = ReadonlyMap<string, ReadonlySet<string>>;

/** The code of an answer, as it is counted: `OK`, one of ours, or gRPC's status in brackets. */
export function codeOf(answer: Answer): string {
  if (answer === undefined) return 'OK';
  const [code] = answer.metadata.get('duoveil-code');
  return typeof code === 'string' ? code : `(${Status[answer.code]})`;
}

/** @returns what is wrong with an answer; undefined where nothing is */
export function objectionTo(answer: Answer, allowed: ReadonlySet<string>): string | undefined {
  if (answer === undefined) return undefined;
  if (TELLTALE.test(answer.details.replace(OWN_WORDS, '')))
    return `the message says too much: ${answer.details}`;
  // HTTP/2's own answer to a peer that gives up calls by the hundred, as the fuzzer does with streams.
  if (answer.details.startsWith('Bandwidth exhausted')) return undefined;
  const code = codeOf(answer);
  if (allowed.has(code)) return undecodable(answer, code);
  // The library below refuses what is too long before anything of ours sees it.
  if (decodeError(answer, 'the server').code === 'MESSAGE_TOO_LARGE') return undefined;
  return `${code} is not documented for this call: ${answer.details}`;
}

function undecodable(answer: ServiceError, code: string): string | undefined {
  // gRPC's own, in brackets, have no details.
  if (code.startsWith('(') || decodeError(answer, 'the server').code === code) return undefined;
  return `${code} does not decode: ${answer.details}`;
}
