/** The wire contract as data: messages with their fields, and calls; from the descriptors of buf. */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { fromBinary } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorSetSchema,
  type FieldDescriptorProto,
} from '@bufbuild/protobuf/wkt';

const require = createRequire(import.meta.url);

/** How a field's value is written. */
export type FieldKind = 'varint' | 'fixed64' | 'fixed32' | 'bytes' | 'string' | 'message';

/** A field of a message. */
export interface Field {
  readonly number: number;
  readonly name: string;
  readonly kind: FieldKind;
  readonly repeated: boolean;
  /** The full name of the message, where the field is one. */
  readonly message: string;
}

/** A call and the message that it takes. */
export interface Call {
  /** `/duoveil.v1.KeyService/RegisterKey` */
  readonly path: string;
  readonly request: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** All messages by full name, and all calls. */
export interface WireSchema {
  readonly messages: ReadonlyMap<string, readonly Field[]>;
  readonly calls: readonly Call[];
}

/** The standard health service, which is of another contract: grpc.health.v1. */
const HEALTH_CHECK = 'grpc.health.v1.HealthCheckRequest';
const HEALTH_SERVICE: Field = {
  number: 1,
  name: 'service',
  kind: 'string',
  repeated: false,
  message: '',
};
const HEALTH_CALLS: readonly Call[] = ['Check', 'Watch', 'List'].map((method) => ({
  path: `/grpc.health.v1.Health/${method}`,
  request: HEALTH_CHECK,
  requestStream: false,
  responseStream: method === 'Watch',
}));

/** Compiles the `.proto` files. */
export function readWireSchema(): WireSchema {
  const directory = join(dirname(require.resolve('@duoveil/proto')), '..');
  const buf = require.resolve('@bufbuild/buf/bin/buf');
  const built = spawnSync(process.execPath, [buf, 'build', '-o', '-'], { cwd: directory });
  if (built.status !== 0) throw new Error(`buf build failed: ${built.stderr.toString()}`);
  const { file } = fromBinary(FileDescriptorSetSchema, built.stdout);
  const messages = file.flatMap((one) =>
    one.messageType.map(({ name, field }): [string, Field[]] => [
      `${one.package}.${name}`,
      field.map(fieldOf),
    ]),
  );
  const calls = file.flatMap((one) =>
    one.service.flatMap((service) =>
      service.method.map((method) => ({
        path: `/${one.package}.${service.name}/${method.name}`,
        request: method.inputType.slice(1),
        requestStream: method.clientStreaming,
        responseStream: method.serverStreaming,
      })),
    ),
  );
  return {
    messages: new Map([...messages, [HEALTH_CHECK, [HEALTH_SERVICE]]]),
    calls: [...calls, ...HEALTH_CALLS],
  };
}

function fieldOf({ number, name, type, label, typeName }: FieldDescriptorProto): Field {
  const message = typeName.slice(1);
  return { number, name, kind: kindOf(type), repeated: label === Label.REPEATED, message };
}

function kindOf(type: Type): FieldKind {
  switch (type) {
    case Type.DOUBLE:
    case Type.FIXED64:
    case Type.SFIXED64:
      return 'fixed64';
    case Type.FLOAT:
    case Type.FIXED32:
    case Type.SFIXED32:
      return 'fixed32';
    case Type.BYTES:
      return 'bytes';
    case Type.STRING:
      return 'string';
    case Type.MESSAGE:
    case Type.GROUP:
      return 'message';
    default:
      return 'varint';
  }
}
