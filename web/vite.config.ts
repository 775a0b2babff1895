import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// `npx vite` serves the sources against a running server (TOWPATH_URL, default port 8080).
const server = process.env.TOWPATH_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [svelte()],
  build: { target: 'es2022', sourcemap: false, modulePreload: { polyfill: false } },
  server: { proxy: { '/api': { target: server, ws: true }, '/k8s': server, '/prometheus': server, '/loki': { target: server, ws: true }, '/tempo': server, '/alertmanager': server } },
  test: { include: ['src/**/*.test.ts'] },
});
