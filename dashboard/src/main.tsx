/** Starts the dashboard. All other modules only declare: importing them does nothing (`imports.test.ts`). */
import "./styles/tokens.css";
import "./styles/base.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { reconnectOnReturn } from "./api/live";
import { createQueries } from "./api/queries";
import { askToSignIn, exchangeFragmentToken } from "./api/session";
import { showKeptTheme } from "./lib/theme";

const root = document.getElementById("root");
if (!root) throw new Error("the page has no element to draw in");

showKeptTheme();
reconnectOnReturn();
const queries = createQueries(askToSignIn);

// The token in a link is removed from the address and exchanged for a cookie before any other request.
await exchangeFragmentToken(queries);

createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);
