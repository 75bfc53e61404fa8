/** Settings of the webhook, to be spread into those of the service provider. */
import { duoveilError } from '@duoveil/common/errors';
import { secretSetting, type Clock } from '@duoveil/common/runtime';
import { z } from 'zod';

import { webhook, WEBHOOK_FORMATS } from './webhook.js';
import type { SendAlarm } from './outlet.js';

export const webhookSettings = {
  webhookUrl: z
    .url({ protocol: /^https?$/, error: 'must be a URL, as https://alarms.example.org/hook' })
    .optional()
    .describe('where alarms are told by POST; nowhere by default'),
  webhookSecret: secretSetting('file of the secret that signs what is told').optional(),
  webhookFormat: z
    .enum(WEBHOOK_FORMATS)
    .default('json')
    .describe('in which form: json, or fhir for a FHIR R4 Flag'),
};

/** The shortest secret, in characters. */
const SHORTEST_SECRET = 16;

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/**
 * How alarms are told; undefined for not at all.
 * @throws DuoveilError `OPTION_INVALID`, `CONFIG_INVALID`
 */
export function webhookOf(
  settings: z.output<z.ZodObject<typeof webhookSettings>>,
  clock: Clock,
): SendAlarm | undefined {
  const { webhookUrl, webhookSecret: secret, webhookFormat: format } = settings;
  if (webhookUrl === undefined) return undefined;
  const url = new URL(webhookUrl);
  if (url.username !== '' || url.password !== '') {
    throw invalid('--webhook-url', 'must hold no user and no password');
  }
  if (url.protocol !== 'https:' && !LOOPBACK.test(url.hostname)) {
    throw invalid('--webhook-url', 'must begin with https://, but for this machine itself');
  }
  if (secret === undefined || secret.reveal().length < SHORTEST_SECRET) {
    const what = `is needed with --webhook-url: ${String(SHORTEST_SECRET)} characters or more`;
    throw invalid('--webhook-secret-file', what);
  }
  return webhook({ url, secret, format, clock });
}

function invalid(option: string, what: string): Error {
  return duoveilError('OPTION_INVALID', `${option} ${what}`, { option });
}
