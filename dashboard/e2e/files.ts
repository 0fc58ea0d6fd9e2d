/** Serves built pages from a folder, under the server's policy for scripts and styles. */
import { existsSync, readFileSync, statSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { resolve } from "node:path";

const TYPES: Record<string, string> = { js: "text/javascript", css: "text/css", html: "text/html", svg: "image/svg+xml" };

/** Answers with the file at a path, or without one with `fallback`. */
export function sendFile(response: ServerResponse, folder: string, path: string, fallback: string): void {
  const wanted = resolve(folder, `.${path}`);
  const file = existsSync(wanted) && statSync(wanted).isFile() ? wanted : resolve(folder, fallback);
  response.setHeader("Content-Type", TYPES[file.split(".").at(-1)!] ?? "text/plain");
  response.setHeader("Content-Security-Policy", "default-src 'self'; img-src 'self' data:");
  response.end(readFileSync(file));
}
