/** The party as a programme of its own: `duoveil csp …` without the rest. */
import { runProgram } from '@duoveil/common/runtime';

import { cspCommand } from './cli.js';

await runProgram(cspCommand);
