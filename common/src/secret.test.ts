import { format, inspect } from 'node:util';

import { describe, expect, it } from 'vitest';

import { Secret } from './secret.js';

const VALUE = 'correct horse battery staple';
const INTEGER = 0xdeadbeefcafen;

/** Every way we know in which a value ends up as text. */
const PRINTERS: Readonly<Record<string, (value: unknown) => string>> = {
  String: (value) => String(value),
  template: (value) => `a ${value as string}`,
  concatenation: (value) => 'a' + (value as string),
  'JSON.stringify': (value) => JSON.stringify(value),
  'JSON.stringify, nested': (value) => JSON.stringify({ list: [value] }),
  inspect: (value) => inspect(value),
  'inspect, nested': (value) => inspect({ list: [value] }, { depth: null }),
  'inspect, everything': (value) =>
    inspect(value, { depth: null, showHidden: true, getters: true, customInspect: false }),
  'format %s': (value) => format('%s', value),
  'format %o': (value) => format('%o', value),
  'format %O': (value) => format('%O', value),
  'format %j': (value) => format('%j', value),
  'format %d': (value) => format('%d', value),
  'Object.keys': (value) => Object.keys(value as object).join(),
  'Reflect.ownKeys': (value) => Reflect.ownKeys(value as object).join(),
  'Object.entries': (value) => inspect(Object.entries(value as object)),
  spread: (value) => inspect({ ...(value as object) }),
  structuredClone: (value) => inspect(structuredClone(value), { depth: null, showHidden: true }),
  'Error cause': (value) => inspect(new Error('message', { cause: value }), { depth: null }),
};

describe.each(Object.entries(PRINTERS))('a secret through %s', (_, print) => {
  it('does not show its value', () => {
    for (const secret of [new Secret(VALUE), new Secret({ password: VALUE })]) {
      expect(print(secret)).not.toContain('horse');
    }
    const text = print(new Secret(INTEGER));
    expect(text).not.toContain(INTEGER.toString());
    expect(text).not.toContain(INTEGER.toString(16));
  });
});

describe('a secret', () => {
  it('shows a placeholder where something is shown at all', () => {
    const secret = new Secret(VALUE);
    for (const name of ['String', 'template', 'inspect', 'format %s', 'JSON.stringify']) {
      expect(PRINTERS[name]?.(secret)).toContain('[secret]');
    }
  });

  it('is read where it is revealed, and there only', () => {
    expect(new Secret(VALUE).reveal()).toBe(VALUE);
  });

  it('is gone once it was forgotten, and bytes are overwritten', () => {
    const bytes = Uint8Array.of(1, 2, 3);
    for (const secret of [new Secret(VALUE), new Secret(bytes)]) {
      secret.forget();
      secret.forget();
      expect(() => secret.reveal()).toThrow('forgotten');
    }
    expect([...bytes]).toEqual([0, 0, 0]);
  });

  it('would be caught by these tests if it were a plain object', () => {
    const plain = { value: VALUE };
    const showing = Object.values(PRINTERS).filter((print) => print(plain).includes('horse'));
    expect(showing.length).toBeGreaterThan(8);
  });
});
