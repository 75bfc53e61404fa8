import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from './address.js';
import { formatIdentity, identityOfPeer, parseIdentity, requireOwnPatient } from './identity.js';
import { parsePatientId } from './patient-id.js';

describe('an identity', () => {
  it.each([
    'spiffe://duoveil.internal/csp',
    'spiffe://duoveil.internal/sp',
    'spiffe://d/gateway/Patient_1.a-b',
    'spiffe://d/operator/ann',
    'spiffe://d/auditor/bob',
    'spiffe://d/custodian/eve',
  ])('is read and written back: %s', (uri) => {
    const identity = parseIdentity(uri);
    expect(identity && formatIdentity(identity)).toBe(uri);
  });

  it.each([
    'spiffe://d/root',
    'spiffe://d/csp/extra',
    'spiffe://d/gateway',
    'spiffe://d/gateway/',
    'spiffe://d/gateway/..',
    'spiffe://d/gateway/a/b',
    'spiffe://D/csp',
    'spiffe://d:1/csp',
    'spiffe://d/csp?x',
    ' spiffe://d/csp',
    'https://d/csp',
    `spiffe://d/gateway/${'a'.repeat(65)}`,
  ])('is not read from %s', (uri) => {
    expect(parseIdentity(uri)).toBeUndefined();
  });

  it.each([
    ['URI:spiffe://d/csp, DNS:localhost, IP Address:127.0.0.1', 'csp'],
    ['DNS:localhost, URI:spiffe://d/csp', 'csp'],
    ['DNS:"a\\", b", URI:spiffe://d/csp', 'csp'],
    // A name that holds a comma is one name, whatever follows the comma.
    ['DNS:"x, URI:spiffe://d/csp, y"', undefined],
    ['DNS:x", URI:spiffe://d/csp', undefined],
    ['URI:spiffe://d/csp, URI:spiffe://d/sp', undefined],
    ['URI:spiffe://d/csp, URI:https://example', undefined],
    ['DNS:localhost', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('in a certificate with %s', (subjectaltname, role) => {
    expect(identityOfPeer({ subjectaltname })?.role).toBe(role);
  });

  it('binds a gateway to its own patient', () => {
    const own = parsePatientId('p1', 'patient_id');
    const gateway = { trustDomain: 'd', role: 'gateway', patient: own } as const;
    const other = parsePatientId('p2', 'patient_id');
    expect(() => {
      requireOwnPatient(gateway, own);
      requireOwnPatient({ trustDomain: 'd', role: 'operator', name: 'ann' }, other);
    }).not.toThrow();
    expect(() => {
      requireOwnPatient(gateway, other);
    }).toThrow(expect.objectContaining({ code: 'PERMISSION_DENIED' }) as Error);
  });
});

describe('a patient id', () => {
  it.each(['', '.', '..', 'a/b', 'é', 'a b', 'x'.repeat(65)])('is not %j', (text) => {
    expect(() => parsePatientId(text, 'patient_id')).toThrow(
      expect.objectContaining({
        code: 'MESSAGE_INVALID',
        details: { field: 'patient_id' },
      }) as Error,
    );
  });
});

describe('an address', () => {
  it.each(['127.0.0.1:7001', 'sp.example:0', '[::1]:65535'])('is read and written: %s', (text) => {
    expect(formatAddress(parseAddress(text, 'listen'))).toBe(text);
  });

  it.each(['', 'host', 'host:', ':1', 'host:65536', 'a b:1', '::1:5', '[1.2.3.4]:5'])(
    'is not %j',
    (text) => {
      expect(() => parseAddress(text, 'listen')).toThrow(/host:port/);
    },
  );
});
