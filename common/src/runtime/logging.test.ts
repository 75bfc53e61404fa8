import { describe, expect, it } from 'vitest';
import { duoveilError } from '../errors.js';
import { Secret } from '../secret.js';
import { lineCollector } from './fixture.js';
import { createLogger, silentLogger } from './logging.js';

const parse = (line: string | undefined): unknown => JSON.parse(line ?? '');

describe('a logger', () => {
  it('writes one JSON object a line, with what is bound to it', () => {
    const { stream, lines } = lineCollector();
    const logger = createLogger({ service: 'sp', stream }).child({ requestId: 'r1' });
    logger.info('sample\nscored', { patient: 'p1', ms: 8.5, tags: ['a', null], nested: { a: 1 } });
    expect(lines).toHaveLength(1);
    expect(parse(lines[0])).toMatchObject({
      level: 'info',
      service: 'sp',
      message: 'sample\nscored',
      requestId: 'r1',
      patient: 'p1',
      ms: 8.5,
      tags: ['a', null],
      nested: { a: 1 },
      timestamp: expect.stringMatching(/^\d{4}-/) as unknown,
    });
  });

  it('never writes integers of the cryptosystem, bytes, secrets or unknown objects', () => {
    const { stream, lines } = lineCollector();
    const logger = createLogger({ service: 'sp', stream });
    class Ciphertext {
      readonly value = 'class-content';
    }
    logger.info('values', {
      integer: 987654321987654321n,
      bytes: Buffer.from('buffer-content'),
      array: new Uint8Array([201, 202, 203]),
      secret: new Secret('secret-content'),
      ciphertext: new Ciphertext(),
      map: new Map([['map-content', 1]]),
      toJson: { toJSON: () => 'json-content' },
      deep: { list: [{ n: 123123123n, b: Buffer.from('buffer-content') }] },
      hex: `x = ${'ab'.repeat(40)}`,
      digest: 'cd'.repeat(32),
    });
    logger.child({ bound: 555555555n }).warn('bound');
    const text = lines.join('\n');
    for (const leak of [
      '987654321',
      'content',
      '201',
      '"98',
      '123123123',
      '555555555',
      'abab',
      Buffer.from('buffer-content').toString('base64'),
    ]) {
      expect(text).not.toContain(leak);
    }
    expect(parse(lines[0])).toMatchObject({
      integer: '[omitted]',
      bytes: '[omitted]',
      array: '[omitted]',
      secret: '[omitted]',
      ciphertext: '[omitted]',
      deep: { list: [{ n: '[omitted]', b: '[omitted]' }] },
      hex: 'x = [omitted]',
      digest: 'cd'.repeat(32),
    });
  });

  it('writes errors with code and causes, and without what they must not carry', () => {
    const { stream, lines } = lineCollector();
    const cause = Object.assign(new TypeError('why'), { payload: 'payload-content' });
    createLogger({ service: 'sp', stream }).error('failed', {
      error: duoveilError('SEQUENCE_GAP', 'gap', { expected: 77777n }, { cause }),
    });
    expect(parse(lines[0])).toMatchObject({
      error: {
        code: 'SEQUENCE_GAP',
        message: 'gap',
        details: { expected: '[omitted]' },
        cause: { name: 'TypeError', message: 'why' },
      },
    });
    expect(lines[0]).not.toContain('payload-content');
    expect(lines[0]).not.toContain('77777');
    expect(lines[0]).not.toContain('stack');
  });

  it('survives values that contain themselves', () => {
    const { stream, lines } = lineCollector();
    const loop: Record<string, unknown> = {};
    loop['self'] = loop;
    createLogger({ service: 'sp', stream }).info('loop', { loop });
    expect(lines).toHaveLength(1);
  });

  it('changes its level at run time, for children too', () => {
    const { stream, lines } = lineCollector();
    const logger = createLogger({ service: 'sp', stream });
    const child = logger.child({ a: 1 });
    child.debug('unseen');
    logger.level = 'debug';
    child.debug('seen');
    logger.level = 'error';
    child.warn('unseen');
    expect(child.level).toBe('error');
    expect(lines.map((line) => (parse(line) as { message: string }).message)).toEqual(['seen']);
  });

  it('can be silent', () => {
    expect(() => {
      silentLogger().error('nothing');
    }).not.toThrow();
  });
});
