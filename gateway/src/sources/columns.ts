/** Finding the wanted columns in a header. */
import { duoveilError } from '@duoveil/common/errors';

/** Where things are in a record. */
export interface Columns {
  /** Position of each wanted channel's column, from 0, by trimmed name. */
  readonly positions: ReadonlyMap<string, number>;
  /** Position of the column with the rows' time, if there is one. */
  readonly time: number | undefined;
  /** Number of columns. */
  readonly count: number;
}

/** How many column names a message lists, and how much of each. */
const LISTED = 20;
const LISTED_LENGTH = 40;

const TIME = /^time( ?\[s\])?$/i;

/**
 * Find the wanted columns in a header. Names are compared without surrounding white space.
 * @param source the file's name, for messages
 * @throws DuoveilError INPUT_INVALID where a column is missing (the message names those there are),
 *   is there twice, or where the header is no header
 */
export function findColumns(
  header: readonly string[],
  channels: readonly string[],
  source: string,
): Columns {
  const refuse = (problem: string) =>
    duoveilError('INPUT_INVALID', `${source}: ${problem}`, { source });
  const names = header.map((name) => name.trim());

  const positions = new Map<string, number>();
  for (const channel of channels.map((name) => name.trim())) {
    const position = names.indexOf(channel);
    if (position < 0) throw refuse(`has no column ${JSON.stringify(channel)}; ${inventory(names)}`);
    if (names.lastIndexOf(channel) !== position) {
      throw refuse(`has more than one column ${JSON.stringify(channel)}; names must differ`);
    }
    positions.set(channel, position);
  }
  const time = names.findIndex((name) => TIME.test(name));
  return { positions, time: time < 0 ? undefined : time, count: names.length };
}

/** What columns there are. A file without a header has readings there: those are not repeated. */
function inventory(names: readonly string[]): string {
  const words = names.filter((name) => name !== '' && Number.isNaN(Number(name)));
  const listed = words.slice(0, LISTED).map((name) => JSON.stringify(name.slice(0, LISTED_LENGTH)));
  if (listed.length === 0) return 'the first line must be a header with the names of the columns';
  return `there are ${listed.join(', ')}${words.length > LISTED ? ' and more' : ''}`;
}
