import { Metadata, status as Status } from '@grpc/grpc-js';
import type { ServiceError } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { duoveilError } from '../errors.js';
import type { DuoveilError } from '../errors.js';
import { decodeError, encodeError } from './status.js';

const peer = 'csp at 127.0.0.1:1';

/** A status as the client gets it. */
const received = (code: Status, details: string, metadata = new Metadata()): ServiceError =>
  Object.assign(new Error(details), { code, details, metadata });

const acrossTheWire = (error: DuoveilError): DuoveilError => {
  const { code, details, metadata } = encodeError(error, 'r1');
  return decodeError(received(code, details, metadata), peer);
};

describe('an error', () => {
  it.each([
    duoveilError('SEQUENCE_CONFLICT', 'used', { sequence: 2n ** 64n - 1n }),
    duoveilError('BOUNDS_EXCEEDED', 'too small', { sufficientBits: 3072 }),
    duoveilError('OVERLOADED', 'busy', { retryAfterMs: 12.5 }),
    duoveilError('PATIENT_CONFLICT', 'otherwise enrolled', { field: 'Größe\n"x"' }),
    duoveilError('KEY_NOT_REGISTERED', 'register it'),
    duoveilError('PEER_UNAVAILABLE', 'csp is gone', { peer: 'csp' }),
  ])('comes back as it was: $code', (error) => {
    const back = acrossTheWire(error);
    const field = 'field' in error.details ? { field: 'Größe "x"' } : error.details;
    const { code, message, details } = back;
    expect({ code, message, details }).toEqual({
      code: error.code,
      message: error.message,
      details: field,
    });
  });

  it('keeps nothing of what was not raised on purpose', () => {
    const wire = encodeError(new Error('a plaintext'), 'r1');
    expect(wire.code).toBe(Status.INTERNAL);
    expect(JSON.stringify([wire.details, wire.metadata.toJSON()])).not.toContain('a plaintext');
    const own = encodeError(duoveilError('INTERNAL', 'a plaintext'), 'r1');
    expect(own.details).not.toContain('a plaintext');
    expect(own.details).toContain('r1');
  });

  it('can be sent whatever its message holds', () => {
    const wire = encodeError(
      duoveilError('MESSAGE_INVALID', `\ud800 \u0000 ${'x'.repeat(5000)}`, { field: '\ud800' }),
      'r1',
    );
    expect(() => encodeURI(wire.details)).not.toThrow();
    expect(wire.details.length).toBeLessThanOrEqual(1000);
  });

  it('that a peer made up is a misbehaviour', () => {
    const metadata = new Metadata();
    metadata.set('duoveil-code', 'SEQUENCE_GAP');
    metadata.set('duoveil-details', '{"expected":"-1"}');
    expect(decodeError(received(Status.UNKNOWN, 'x', metadata), peer).code).toBe('PEER_MISBEHAVED');
    metadata.set('duoveil-details', 'nonsense');
    expect(decodeError(received(Status.UNKNOWN, 'x', metadata), peer).code).toBe('PEER_MISBEHAVED');
    metadata.set('duoveil-code', 'toString');
    expect(decodeError(received(Status.UNKNOWN, 'x', metadata), peer).code).toBe('PEER_MISBEHAVED');
  });
});

describe('a status without a code of ours', () => {
  it.each([
    [Status.UNAVAILABLE, 'connect ECONNREFUSED 1', 'PEER_UNAVAILABLE', /is it running/],
    [Status.UNAVAILABLE, 'Name resolution failed', 'PEER_UNAVAILABLE', /does not resolve/],
    [Status.UNAVAILABLE, 'self-signed certificate', 'PEER_UNAVAILABLE', /TLS handshake/],
    [Status.UNAVAILABLE, 'read ECONNRESET', 'PEER_UNAVAILABLE', /refuse this certificate/],
    [Status.CANCELLED, 'Call cancelled', 'PEER_UNAVAILABLE', /csp at/],
    [Status.INTERNAL, 'Received RST_STREAM with code 2', 'PEER_UNAVAILABLE', /csp at/],
    [Status.DEADLINE_EXCEEDED, 'x', 'DEADLINE_EXCEEDED', /in time/],
    [Status.RESOURCE_EXHAUSTED, 'Received message larger than max', 'MESSAGE_TOO_LARGE', /limit/],
    [Status.RESOURCE_EXHAUSTED, 'x', 'OVERLOADED', /overloaded/],
    [Status.UNIMPLEMENTED, 'x', 'PEER_MISBEHAVED', /same version/],
    [Status.INTERNAL, 'x', 'PEER_MISBEHAVED', /INTERNAL/],
    [Status.DATA_LOSS, 'x', 'PEER_MISBEHAVED', /DATA_LOSS/],
  ] as const)('%s, %s', (code, details, expected, message) => {
    const error = decodeError(received(code, details), peer);
    expect(error.code).toBe(expected);
    expect(error.message).toMatch(message);
  });
});
