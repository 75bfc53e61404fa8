/**
 * What some work comes to, if it does in time. The work itself is not ended.
 * @param what names it, with what it is about: `batch 7: stopping the servers`
 * @throws where the time is over, naming what was waited for; and as the work does
 */
export async function within<T>(
  ms: number,
  what: string | (() => string),
  work: Promise<T>,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const name = typeof what === 'string' ? what : what();
      reject(new Error(`${name} has not come to an end within ${ms} ms`));
    }, ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
