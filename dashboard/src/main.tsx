/** Starts the dashboard. */
import "./styles/tokens.css";
import "./styles/base.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { exchangeFragmentToken } from "./api/session";
import { queries } from "./api/queries";

const root = document.getElementById("root");
if (!root) throw new Error("the page has no element to draw in");

// The token in a link is removed from the address and exchanged for a cookie before any other request.
await exchangeFragmentToken();

createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);
