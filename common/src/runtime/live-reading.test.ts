import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { duoveilError } from '../errors.js';
import { LiveReading } from './live-reading.js';

/** What is there to be read; undefined for nothing. */
let content: string | undefined;
let told: string[];
let reading: LiveReading<string>;
beforeEach(() => {
  content = 'one';
  told = [];
  reading = new LiveReading(
    {
      read: () =>
        content === undefined
          ? Promise.reject(duoveilError('CONFIG_INVALID', 'gone', { path: 'file' }))
          : Promise.resolve(content),
      digestOf: (text) => text,
      accept: (text) => {
        if (text.startsWith('half')) throw duoveilError('CONFIG_INVALID', text, { path: 'file' });
        told.push(`accepted ${text}`);
      },
      refuse: ({ message }) => told.push(`refused ${message}`),
      reloadMs: 0,
      onHangUp: true,
    },
    content,
  );
});
afterEach(() => {
  reading.close();
});

async function look(next: string | undefined, asked = false): Promise<void> {
  content = next;
  await reading.look(asked);
}

describe('what is read again and again', () => {
  it('comes into force when it has changed', async () => {
    await look('one');
    await look('two');
    await look('two');
    await look('one');
    expect(told).toEqual(['accepted two', 'accepted one']);
  });

  it('is refused at the second look, when it cannot be half written any more, and once', async () => {
    await look('half');
    await look('half of two');
    await look('two');
    expect(told).toEqual(['accepted two']);
    for (let i = 0; i < 3; i += 1) await look('half of three');
    for (let i = 0; i < 3; i += 1) await look(undefined);
    expect(told.slice(1)).toEqual(['refused half of three', 'refused gone']);
  });

  it('is refused again where it had been right in between', async () => {
    for (const each of ['half', 'half', 'one', 'half', 'half']) await look(each);
    expect(told).toEqual(['refused half', 'refused half']);
  });

  it('is refused at once where somebody asked, as with SIGHUP', async () => {
    await look('half', true);
    expect(told).toEqual(['refused half']);
    content = 'half of two';
    process.emit('SIGHUP');
    // The next look is behind that one.
    await reading.look();
    expect(told).toEqual(['refused half', 'refused half of two']);
  });

  it('is not read any more when it is closed', () => {
    const before = process.listenerCount('SIGHUP');
    reading.close();
    expect(process.listenerCount('SIGHUP')).toBe(before - 1);
  });
});
