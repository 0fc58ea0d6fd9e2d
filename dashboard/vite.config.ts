import { readdirSync, readFileSync } from "node:fs";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** Writes the licences of what is bundled beside it, as they ask for. */
function licences(): Plugin {
  return {
    name: "licences",
    generateBundle(_options, bundle) {
      const folders = new Set<string>();
      for (const part of Object.values(bundle)) {
        if (part.type !== "chunk") continue;
        for (const id of part.moduleIds) {
          const folder = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id)?.[0];
          if (folder) folders.add(folder);
        }
      }
      const texts = [...folders].map((folder) => {
        const { name, version } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8")) as {
          name: string;
          version: string;
        };
        const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
        if (!file) this.error(`${name} has no licence file`);
        return `${name} ${version}\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
      });
      const source = texts.toSorted().join(`\n${"-".repeat(72)}\n\n`);
      this.emitFile({ type: "asset", fileName: "licences.txt", source });
    },
  };
}

// Output names are stable and there are no source maps, so that a rebuild of the same sources gives
// the same bytes and the committed `dist` can be checked. The server sends an ETag instead of
// relying on hashed names.
export default defineConfig({
  plugins: [react(), licences()],
  build: {
    // `light-dark()` and nesting as written: Chrome 123, Firefox 120, Safari 17.5.
    target: ["chrome123", "firefox121", "safari17.5"],
    assetsInlineLimit: 0,
    modulePreload: false,
    cssCodeSplit: false,
    sourcemap: false,
    rollupOptions: {
      output: {
        entryFileNames: "app.js",
        chunkFileNames: "[name].js",
        assetFileNames: "app[extname]",
      },
    },
  },
  server: {
    proxy: { "/api": process.env.ECOWATT_URL ?? "http://127.0.0.1:8080" },
  },
  test: { include: ["src/**/*.test.ts"] },
});
