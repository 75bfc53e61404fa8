import { createRequire } from 'node:module';

import { runProgram } from '@duoveil/common/runtime';
import { Command } from 'commander';

import { caCommand } from './ca.js';
import { operatorCommand } from './operator.js';

/** Subcommands by name. Each is loaded when it is used: a gateway does not load a server's code. */
const loaders: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('@duoveil/harness/run')).runCommand(),
  demo: async () => (await import('@duoveil/harness/run')).demoCommand(),
  csp: async () => (await import('@duoveil/csp/cli')).cspCommand(),
  sp: async () => (await import('@duoveil/service-provider/cli')).spCommand(),
  bench: async () => (await import('@duoveil/bench')).benchCommand(),
  gateway: async () => (await import('@duoveil/gateway/cli')).gatewayCommand(),
  ca: () => Promise.resolve(caCommand()),
  operator: () => Promise.resolve(operatorCommand()),
};

await runProgram(async () => {
  const { version } = createRequire(import.meta.url)('../package.json') as { version: string };
  const program = new Command('duoveil')
    .description('Watches vital signs and raises an alarm without ever seeing them.')
    .version(version);
  const wanted = process.argv[2] ?? '';
  const load = Object.hasOwn(loaders, wanted) ? loaders[wanted] : undefined;
  // For the list of subcommands, all of them are needed.
  for (const one of load ? [load] : Object.values(loaders)) program.addCommand(await one());
  return program;
});
