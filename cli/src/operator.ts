import {
  callUnary,
  connect,
  credentialFiles,
  loadTls,
  logLevels,
  withSettings,
} from '@duoveil/common/runtime';
import { OperationsServiceService } from '@duoveil/proto';
import { Command } from 'commander';
import { z } from 'zod';

import { addAlarmCommands } from './operator-alarms.js';
import { addTokenCommand } from './operator-token.js';

const logLevelSettings = z.strictObject({
  server: z.enum(['sp', 'csp']).describe('which server it is: sp or csp'),
  address: z.string().min(1).describe('host:port of the server'),
  tls: z.string().min(1).describe("directory with an operator's ca.crt, tls.crt and tls.key"),
  level: z.enum(logLevels).describe(`one of ${logLevels.join(', ')}`),
});

/** How long a server may take to answer, in milliseconds. */
const DEADLINE_MS = 10_000;

/** `duoveil operator …`: what an operator sees at a server that runs, and does to it. */
export function operatorCommand(): Command {
  const operator = new Command('operator').description(
    'see to alarms, and change a server that runs',
  );
  withSettings(operator.command('log-level'), logLevelSettings, async (settings) => {
    const { server: expectRole, address, level } = settings;
    const tls = await loadTls(credentialFiles(settings.tls));
    const connection = connect({ address, tls, expectRole });
    try {
      const { previous } = await callUnary(
        connection,
        OperationsServiceService.setLogLevel,
        { level },
        { deadlineMs: DEADLINE_MS },
      );
      process.stdout.write(`log level ${level}, was ${previous}\n`);
    } finally {
      connection.close();
    }
  }).description('change how much a server logs, until it is restarted');
  addAlarmCommands(operator);
  addTokenCommand(operator);
  return operator;
}
