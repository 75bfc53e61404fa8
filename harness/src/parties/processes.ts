/** What the operating system says about processes: for tests that end parties from outside. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** A process that runs. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  /** The command line, its parts separated by spaces. */
  readonly command: string;
}

/** All processes that run. One that has ended, but that its parent has not looked at yet, does not. */
export function listProcesses(): ProcessEntry[] {
  return existsSync('/proc/self/stat') ? fromProc() : fromPs();
}

/** The processes that a process has started, and those that these have started, and so on. */
export function descendantsOf(pid: number): ProcessEntry[] {
  const all = listProcesses();
  const below = (parent: number): ProcessEntry[] =>
    all.filter((entry) => entry.parent === parent).flatMap((entry) => [entry, ...below(entry.pid)]);
  return below(pid);
}

/** Those of some processes that still run. */
export function stillRunning(processes: readonly ProcessEntry[]): ProcessEntry[] {
  const commands = new Map(listProcesses().map(({ pid, command }) => [pid, command]));
  // A number may have been given to another process by now.
  return processes.filter(({ pid, command }) => commands.get(pid) === command);
}

function fromProc(): ProcessEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const [, state = '', parent = ''] = /\) (\S) (\d+) /.exec(stat) ?? [];
        if (state === 'Z' || state === 'X') return [];
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').join(' ').trim();
        return [{ pid: Number(name), parent: Number(parent), command }];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}

function fromPs(): ProcessEntry[] {
  const columns = ['pid=', 'ppid=', 'stat=', 'args='].flatMap((column) => ['-o', column]);
  return execFileSync('ps', ['-A', ...columns], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => {
      const [, pid, parent, state = '', command = ''] =
        /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
      if (pid === undefined || state.startsWith('Z')) return [];
      return [{ pid: Number(pid), parent: Number(parent), command: command.trim() }];
    });
}
