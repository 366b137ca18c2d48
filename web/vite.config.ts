// How the page is built: hashed names below /assets, no inline script or style, nothing fetched from elsewhere.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
    plugins: [svelte()],
    base: '/',
    build: {
        target: 'es2022',
        outDir: '../src/calldex/web',
        emptyOutDir: true,
        assetsInlineLimit: 0,
        modulePreload: { polyfill: false },
        chunkSizeWarningLimit: 200,
        // What every address needs is one script: a browser asks six things of a server at once.
        rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'page', tags: ['$initial'] }] } } },
    },
    test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
