import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// Output names are stable and there are no source maps, so that a rebuild of the same sources gives
// the same bytes and the committed `dist` can be checked. The server sends an ETag instead of
// relying on hashed names.
export default defineConfig({
  plugins: [react()],
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
