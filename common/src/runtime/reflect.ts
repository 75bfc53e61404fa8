/**
 * The three functions of the Reflect metadata proposal that the certificate library's
 * dependency-injection container asks for, where nothing has provided them yet.
 */
interface MetadataReflection {
  defineMetadata?: (key: unknown, value: unknown, target: object) => void;
  getOwnMetadata?: (key: unknown, target: object) => unknown;
  getMetadata?: (key: unknown, target: object) => unknown;
}

const reflection = Reflect as MetadataReflection;

if (reflection.getMetadata === undefined) {
  const store = new WeakMap<object, Map<unknown, unknown>>();
  const own = (key: unknown, target: object): unknown => store.get(target)?.get(key);

  reflection.defineMetadata = (key, value, target) => {
    const entries = store.get(target) ?? new Map<unknown, unknown>();
    store.set(target, entries.set(key, value));
  };
  reflection.getOwnMetadata = own;
  reflection.getMetadata = (key, target) => {
    let holder: object | null = target;
    while (holder !== null) {
      if (store.get(holder)?.has(key) === true) return own(key, holder);
      holder = Reflect.getPrototypeOf(holder);
    }
    return undefined;
  };
}

export {};
