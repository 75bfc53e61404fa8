/** From bytes to lines of text, of bounded length. */

/** One line, without its end; `text` is undefined where it is longer than allowed. */
export interface Line {
  /** From 1. */
  readonly number: number;
  readonly text: string | undefined;
}

/**
 * Lines that end with LF or CRLF, or at the end. Blank ones are counted and left out. No more of a line
 * than allowed is kept: what is longer comes out as such, when it ends.
 * @param maxBytes longest line, in bytes
 */
export async function* boundedLines(
  chunks: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<Line, void> {
  let number = 0;
  let parts: Buffer[] = [];
  let length = 0;
  const take = (part: Buffer): void => {
    length += part.length;
    if (length <= maxBytes) parts.push(part);
    else parts = [];
  };
  const finish = (): Line | undefined => {
    number += 1;
    const text = length > maxBytes ? undefined : Buffer.concat(parts).toString('utf8');
    parts = [];
    length = 0;
    return text?.trim() === '' ? undefined : { number, text: text?.replace(/^\ufeff/, '') };
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      take(chunk.subarray(from, end));
      from = end + 1;
      const line = finish();
      if (line !== undefined) yield line;
    }
    // A copy: a small rest must not keep a large chunk.
    if (from < chunk.length) take(Buffer.from(chunk.subarray(from)));
  }
  const last = length > 0 ? finish() : undefined;
  if (last !== undefined) yield last;
}
