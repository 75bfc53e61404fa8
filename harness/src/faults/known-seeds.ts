/** Lists that failed once. They are run first, each time; a new one is added with the fix. */
export const KNOWN_SEEDS: readonly { readonly batch: number; readonly list: number }[] = [];
