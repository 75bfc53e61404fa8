import { defineConfig } from 'vitest/config';

const conditions = ['duoveil-source'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['*/src/**/*.test.ts', '*/test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // Most of the time a test waits for processes that it has started: two at a time fill two cores.
    maxWorkers: 2,
  },
});
