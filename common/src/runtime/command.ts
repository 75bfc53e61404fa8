/** Command lines: commands whose options are settings, and programmes that end as ours do. */
import { CommanderError, type Command } from 'commander';
import type { z } from 'zod';
import { duoveilError } from '../errors.js';
import { runMain } from './lifecycle.js';
import { resolveSettings, settingFlags } from './settings.js';

/**
 * Give a command an option for each setting, and `--config` for a file of them.
 * @param run is called with the settings, resolved and checked
 */
export function withSettings<S extends z.ZodObject>(
  command: Command,
  schema: S,
  run: (settings: z.output<S>) => Promise<void>,
): Command {
  for (const { flags, description } of settingFlags(schema)) command.option(flags, description);
  return command
    .option('--config <file>', 'YAML file of the same settings')
    .action(async (flags: Record<string, unknown>) => {
      const file = typeof flags['config'] === 'string' ? flags['config'] : undefined;
      await run(await resolveSettings({ schema, flags, file }));
    });
}

/**
 * Run a command with the process's arguments. Whatever goes wrong becomes one line on standard
 * error and an exit status, as {@link runMain} does it; a wrong option is `OPTION_INVALID`.
 */
export async function runProgram(load: () => Promise<Command> | Command): Promise<void> {
  await runMain(async () => {
    const program = await load();
    raiseErrors(program);
    try {
      await program.parseAsync(process.argv);
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error;
      if (error.exitCode !== 0) throw asOptionError(error);
    }
  });
}

/** Commander's errors are raised, not printed. */
function raiseErrors(command: Command): void {
  command.exitOverride().configureOutput({ outputError: () => undefined });
  command.commands.forEach(raiseErrors);
}

function asOptionError(error: CommanderError): Error {
  if (error.code === 'commander.help') {
    return duoveilError('OPTION_INVALID', 'a subcommand is needed; --help lists them', {
      option: 'subcommand',
    });
  }
  const message = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  return duoveilError('OPTION_INVALID', `${message}; --help lists what there is`, {
    option: 'arguments',
  });
}
