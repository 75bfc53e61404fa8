/** The party as a programme of its own: `duoveil gateway …` without the rest. */
import { runProgram } from '@duoveil/common/runtime';

import { gatewayCommand } from './cli.js';

await runProgram(gatewayCommand);
