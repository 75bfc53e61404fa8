import { describe, expect, it } from 'vitest';

import { Vault, type Contents } from './vault.js';

class Keys implements Contents {
  wiped = false;
  wipe(): void {
    this.wiped = true;
  }
}

const sealed = expect.objectContaining({ code: 'CSP_SEALED' }) as unknown;

describe('a vault', () => {
  it('is sealed at first, and after it was closed', async () => {
    const vault = new Vault<Keys>();
    const seen: boolean[] = [];
    vault.watch((isOpen) => seen.push(isOpen));
    await expect(vault.use(() => 1)).rejects.toEqual(sealed);
    const keys = new Keys();
    vault.open(keys);
    expect(await vault.use((held) => held === keys)).toBe(true);
    expect(await vault.close(0)).toBe(true);
    expect(keys.wiped).toBe(true);
    await expect(vault.use(() => 1)).rejects.toEqual(sealed);
    expect(await vault.close(0)).toBe(false);
    expect(seen).toEqual([false, true, false]);
  });

  it('lets calls in progress finish before it wipes, and takes no others meanwhile', async () => {
    const vault = new Vault<Keys>();
    const keys = new Keys();
    vault.open(keys);
    let finish = (): void => undefined;
    const started = vault.use(async (held) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return held.wiped;
    });
    const closing = vault.close(600_000);
    expect(vault.isOpen).toBe(false);
    await expect(vault.use(() => 1)).rejects.toEqual(sealed);
    expect(keys.wiped).toBe(false);
    finish();
    expect(await started).toBe(false);
    await closing;
    expect(keys.wiped).toBe(true);
  });

  it('does not wait longer than it was told to', async () => {
    const vault = new Vault<Keys>();
    const keys = new Keys();
    vault.open(keys);
    void vault.use(() => new Promise(() => undefined));
    expect(await vault.close(0)).toBe(true);
    expect(keys.wiped).toBe(true);
  });

  it('counts calls that fail as finished', async () => {
    const vault = new Vault<Keys>();
    vault.open(new Keys());
    await expect(vault.use(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await vault.close(600_000)).toBe(true);
  });
});
