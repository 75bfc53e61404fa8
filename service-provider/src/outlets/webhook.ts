/** Tells alarms to a web server, each in a signed POST. */
import { createHmac } from 'node:crypto';

import { duoveilError } from '@duoveil/common/errors';
import { linkedAbort } from '@duoveil/common/runtime';
import type { Clock } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';

import type { Alarm } from '../alarms/alarm.js';
import { stateOf } from '../alarms/telling.js';
import { encodeAlarm } from '../http/wire.js';
import { flagOf } from './fhir-flag.js';
import type { SendAlarm } from './outlet.js';

/** In which form alarms are told. */
export const WEBHOOK_FORMATS = ['json', 'fhir'] as const;

/** Where alarms are told, and how. */
export interface WebhookOptions {
  readonly url: URL;
  /** Signs what is sent. */
  readonly secret: Secret<string>;
  readonly format: (typeof WEBHOOK_FORMATS)[number];
  readonly clock: Clock;
}

/** How long the receiver may take, in milliseconds. */
const TIMEOUT_MS = 10_000;

/**
 * Sends an alarm. Any status of 200 to 299 means that it was taken, whatever the answer says.
 * @throws DuoveilError `PEER_UNAVAILABLE`
 */
export function webhook({ url, secret, format, clock }: WebhookOptions): SendAlarm {
  return async (alarm, stop) => {
    const body = JSON.stringify(format === 'fhir' ? flagOf(alarm) : jsonOf(alarm));
    const timestamp = String(Math.floor(clock.now().getTime() / 1000));
    const headers = {
      'content-type': format === 'fhir' ? 'application/fhir+json' : 'application/json',
      'idempotency-key': `${alarm.id}/${stateOf(alarm)}`,
      'user-agent': 'duoveil',
      'x-duoveil-timestamp': timestamp,
      'x-duoveil-signature': signatureOf(secret, timestamp, body),
    };
    const life = linkedAbort(stop, AbortSignal.timeout(TIMEOUT_MS));
    try {
      await post(url, headers, body, life.signal);
    } finally {
      life.release();
    }
  };
}

async function post(
  url: URL,
  headers: Record<string, string>,
  body: string,
  signal: AbortSignal,
): Promise<void> {
  const response = await fetch(url, {
    ...{ method: 'POST', headers, body, signal },
    // A redirect would take the alarm to where nobody said that it should go.
    redirect: 'manual',
  }).catch((cause: unknown) => {
    throw refused('does not answer', cause);
  });
  await response.body?.cancel();
  if (!response.ok) throw refused(`answers with status ${String(response.status)}`);
}

/** What the header `X-Duoveil-Signature` says of a body. */
export function signatureOf(secret: Secret<string>, timestamp: string, body: string): string {
  const mac = createHmac('sha256', secret.reveal()).update(`${timestamp}.${body}`);
  return `sha256=${mac.digest('hex')}`;
}

function jsonOf(alarm: Alarm): Readonly<Record<string, unknown>> {
  return { state: stateOf(alarm), alarm: encodeAlarm(alarm) };
}

function refused(what: string, cause?: unknown): Error {
  return duoveilError('PEER_UNAVAILABLE', `the webhook ${what}`, { peer: 'webhook' }, { cause });
}
