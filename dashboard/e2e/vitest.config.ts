import { defineConfig } from "vitest/config";

// One browser at a time: the server under test, its devices and the browser share the machine.
export default defineConfig({
  root: import.meta.dirname,
  test: {
    include: ["*.e2e.ts"],
    // The gallery needs no server and takes as long as all the others: `npm run gallery` opens it.
    exclude: process.env["npm_lifecycle_event"] === "gallery" ? [] : ["gallery.e2e.ts"],
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
