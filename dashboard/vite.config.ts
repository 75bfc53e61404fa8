import { defineConfig } from 'vite';

// The policy of the server that serves these files allows nothing from elsewhere and nothing inline.
export default defineConfig({
  base: './',
  build: {
    outDir: 'dist/site',
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/api': process.env['DUOVEIL_API'] ?? 'http://127.0.0.1:7003' } },
});
