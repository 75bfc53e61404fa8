/** What a gateway subscribes to, and how messages become rows: a YAML or JSON file. */
import type { Channel } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { firstIssue, readSettingFile } from '@duoveil/common/runtime';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';

import { isPointer, POINTER_FORM } from './json-pointer.js';

/** Longest name of a session at a broker, in characters. */
const MAX_CLIENT_ID = 128;

const topic = z
  .string('must be the name of a topic')
  .min(1, 'must not be empty')
  .max(1024, 'must have at most 1024 characters')
  // A wildcard would mix what several monitors measure.
  .regex(/^[^+#\0]*$/, 'must name one topic, without + or #');
const pointer = z.string('must be a text').refine(isPointer, POINTER_FORM);

/** One message has all channels. */
const message = z.strictObject({
  topic,
  /** Where the time stands in it, if anywhere. */
  time: pointer.optional(),
  /** Where each channel stands in it. */
  channels: z.record(z.string(), pointer),
});

/** A channel has a topic of its own. */
const ownTopic = z.strictObject({
  topic,
  /** Where the reading stands in the message; without it the message is the reading, as text. */
  value: pointer.optional(),
  time: pointer.optional(),
});

const schema = z
  .strictObject({
    broker: z.url({ protocol: /^mqtts?$/, error: 'must be as mqtts://broker.example:8883' }),
    clientId: z
      .string('must be a text')
      .regex(/^[\w.:-]+$/, 'must have letters, digits, dots, colons, hyphens and underscores only')
      .max(MAX_CLIENT_ID, `must have at most ${MAX_CLIENT_ID} characters`),
    username: z.string().min(1).optional(),
    tls: z
      .strictObject({
        /** PEM of the authorities; by default those of the system. */
        ca: z.string().optional(),
        certificate: z.string().optional(),
        key: z.string().optional(),
      })
      .default({}),
    message: message.optional(),
    channels: z.record(z.string(), ownTopic).optional(),
  })
  .superRefine((mapping, context) => {
    const refuse = (path: string, text: string) => {
      context.addIssue({ code: 'custom', path: [path], message: text });
    };
    if ((mapping.message === undefined) === (mapping.channels === undefined)) {
      refuse('message', 'one of message and channels is needed, not both');
    }
    if ((mapping.tls.certificate === undefined) !== (mapping.tls.key === undefined)) {
      refuse('tls', 'certificate and key go together');
    }
    if (mapping.broker.includes('@')) refuse('broker', 'must not hold a name or a password');
    const topics = Object.values(mapping.channels ?? {}).map((own) => own.topic);
    if (new Set(topics).size < topics.length) refuse('channels', 'topics must differ');
  });

/** See the file's comment. */
export type MqttMapping = z.output<typeof schema>;

/**
 * Reads a mapping for some channels.
 * @throws CONFIG_INVALID, with the file and the key; also where a channel is missing from it
 */
export async function readMqttMapping(
  file: string,
  channels: readonly Pick<Channel, 'name'>[],
): Promise<MqttMapping> {
  const text = (await readSettingFile(file, '--mapping')).toString('utf8');
  let content: unknown;
  try {
    content = parseYaml(text);
  } catch {
    throw invalid(file, '--mapping', 'is neither YAML nor JSON');
  }
  const result = schema.safeParse(content);
  if (!result.success) {
    const { path, message: what } = firstIssue(result.error);
    throw invalid(file, path, `${path}: ${what}`);
  }
  const mapped = result.data.message?.channels ?? result.data.channels ?? {};
  for (const { name } of channels) {
    if (Object.hasOwn(mapped, name)) continue;
    throw invalid(
      file,
      'channels',
      `channels: ${JSON.stringify(name)} is monitored but not mapped`,
    );
  }
  return result.data;
}

function invalid(file: string, path: string, problem: string): Error {
  return duoveilError('CONFIG_INVALID', `${file}: ${problem}`, { path });
}
