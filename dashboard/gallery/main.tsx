/**
 * Starts the gallery: every component and every part of a page in every state, without a server. It is
 * for development and for the browser tests; no build of the dashboard has it.
 */
import "../src/styles/tokens.css";
import "../src/styles/base.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { setClock } from "../src/api/clock";
import { follow } from "../src/api/live";
import { createQueries } from "../src/api/queries";
import { showKeptTheme } from "../src/lib/theme";
import { fetchFrom } from "./answers";
import { Gallery } from "./Gallery";
import { NOW } from "./fixtures";
import { PARTS } from "./parts";
import { streamIn } from "./stream";

/** So many frames without an answer, and everything that follows from the last one is drawn. */
const QUIET_FRAMES = 12;

const params = new URLSearchParams(window.location.search);
const part = PARTS.find(({ name }) => name === params.get("part"));
const chosen = part?.cases.find(({ name }) => name === params.get("case"));

let frames = 0;
window.fetch = fetchFrom(chosen?.answers ?? {}, () => (frames = 0));
window.EventSource = streamIn(chosen?.stream ?? "connecting");
setClock(NOW, 1);
showKeptTheme();
if (chosen?.stream) follow(null);

const queries = createQueries(() => {});
// A refusal is shown at once, not after further tries.
queries.setDefaultOptions({ queries: { ...queries.getDefaultOptions().queries, retry: false } });

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <Gallery part={part} chosen={chosen} />
    </QueryClientProvider>
  </StrictMode>,
);

/** Marks the page once nothing has been answered for a while, for the browser tests. */
function settle(): void {
  frames += 1;
  if (frames < QUIET_FRAMES) requestAnimationFrame(settle);
  else document.documentElement.dataset.settled = "";
}

void Promise.resolve(chosen?.act?.()).finally(() => {
  frames = 0;
  settle();
});
