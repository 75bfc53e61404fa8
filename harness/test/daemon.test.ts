/** A server that is not ours: there when it says so, and gone when it is not wanted any more. */
import { describe, expect, it } from 'vitest';

import { Daemon } from '../src/parties/daemon.js';
import { descendantsOf, stillRunning } from '../src/parties/processes.js';

/** Takes its time, says that it is up, and then waits to be ended. */
const SERVER = [
  'process.on("SIGTERM", () => process.exit())',
  'setInterval(() => undefined, 1000)',
  'console.error("starting")',
  'setImmediate(() => console.error("up and running"))',
].join('; ');

const start = (code: string): Promise<Daemon> =>
  Daemon.start({
    ...{ name: 'a server', ready: 'running', stopSignal: 'TERM' },
    command: [process.execPath, '-e', code],
  });

const ours = () => descendantsOf(process.pid).filter(({ command }) => command.includes(SERVER));

describe('a server that is not ours', () => {
  it('runs until it is stopped', async () => {
    const daemon = await start(SERVER);
    const running = ours();
    expect(running).not.toEqual([]);
    await daemon.stop();
    expect(stillRunning(running)).toEqual([]);
  });

  it('that ends instead of coming up is an error at once, with what it said', async () => {
    const refused = start('console.error("the port is taken"); process.exitCode = 1');
    await expect(refused).rejects.toThrow('a server did not start: the port is taken');
  });

  it('may have ended by itself when it is stopped', async () => {
    const daemon = await start('console.error("running")');
    await daemon.stop();
    await daemon.stop();
  });
});
