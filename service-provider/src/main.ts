/** The party as a programme of its own: `duoveil sp …` without the rest. */
import { runProgram } from '@duoveil/common/runtime';

import { spCommand } from './cli.js';

await runProgram(spCommand);
