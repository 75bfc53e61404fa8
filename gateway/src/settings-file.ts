/** The settings file that `duoveil gateway init` writes: what was given, and what may be set besides. */
import { resolve } from 'node:path';

import { DEFAULT_CHANNELS, DEFAULT_WINDOW } from '@duoveil/common/encoding';
import type { PatientId } from '@duoveil/common/runtime';

import type { ChannelValues } from './monitoring-options.js';
import { STANDARD_INPUT } from './sources/index.js';
import type { SourceSettings } from './sources/index.js';

/** What is known when the file is written. */
export interface KnownSettings
  extends ChannelValues, Pick<SourceSettings, 'source' | 'input' | 'mapping'> {
  readonly patient: PatientId;
  readonly sp: string;
  readonly tls: string;
  /** An absolute path. */
  readonly state: string;
  readonly parametersDigest: string;
  readonly sealing: { readonly setting: string; readonly file: string };
}

/** The file's text: YAML, each setting named as its option. */
export function settingsFile(known: KnownSettings): string {
  const { patient, sp, tls, state, parametersDigest, sealing } = known;
  return `# The gateway of ${patient}: settings of enrol, stream, status and statistics.
# Every option of these commands may stand here under its name: --spool-max-bytes as spoolMaxBytes.

# Where the service provider listens. Its certificate must name this host.
sp: ${quoted(sp)}

# Directory with ca.crt, tls.crt and tls.key. The certificate names the patient.
tls: ${quoted(resolve(tls))}

# This patient's own directory: enrolment, sealed keys, samples on their way.
state: ${quoted(state)}

# The only parameters to accept, as the crypto service provider published them.
parametersDigest: ${quoted(parametersDigest)}

# What seals the patient's keys. Whoever has this file and the state directory can read the patient's
# data: keep it out of backups of that directory, and readable for the gateway only.
${sealing.setting}: ${quoted(sealing.file)}

# What is monitored, and how. It cannot be changed once the patient is enrolled.
${channelLines(known).join('\n')}
# window: ${DEFAULT_WINDOW}
# baseline: fixed

# What is streamed.
${sourceLines(known).join('\n')}
# realtime: true

# The most that is kept on disk, above all while the service provider cannot be reached.
# spoolMaxSamples: 86400
# spoolMaxBytes: 268435456

# The most of it that stays there once it is acknowledged, for a service provider that is restored from
# a backup: as many samples as there are from one backup to the next, and until it is restored.
# spoolKeepSamples: 86400
`;
}

function channelLines({ channels, schema }: KnownSettings): string[] {
  const names = typeof channels === 'string' ? channels.split(',') : channels;
  const usual = DEFAULT_CHANNELS.map(({ name }) => name).join(', ');
  return [
    ...(schema === undefined ? [] : [`schema: ${quoted(resolve(schema))}`]),
    names === undefined ? `# channels: [${usual}]` : `channels: [${names.map(quoted).join(', ')}]`,
  ];
}

function sourceLines({ source, input, mapping }: KnownSettings): string[] {
  const lines = [
    ...(source === undefined ? [] : [`source: ${source}`]),
    ...(mapping === undefined ? [] : [`mapping: ${quoted(resolve(mapping))}`]),
    ...(input === undefined
      ? []
      : [`input: ${quoted(input === STANDARD_INPUT ? input : resolve(input))}`]),
  ];
  return lines.length > 0 ? lines : ['# input: /path/to/readings.csv'];
}

/** A JSON text is a YAML text too, whatever is in it. */
function quoted(text: string): string {
  return JSON.stringify(text);
}
