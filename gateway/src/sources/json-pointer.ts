/** JSON pointers, RFC 6901: where in a JSON value something stands. */

/** What a pointer is, for messages. */
export const POINTER_FORM = 'must be a JSON pointer, as /vitals/hr, or empty for the whole value';

/** Is this a pointer? */
export function isPointer(text: string): boolean {
  return /^(\/([^~/]|~[01])*)*$/.test(text);
}

/** What stands there; undefined where nothing does. */
export function atPointer(value: unknown, pointer: string): unknown {
  let found = value;
  for (const token of pointer.split('/').slice(1)) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined;
    found = (found as Readonly<Record<string, unknown>>)[key];
  }
  return found;
}
