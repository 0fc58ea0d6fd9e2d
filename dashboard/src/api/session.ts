/** Signing in and out. A token is exchanged for a cookie that scripts cannot read, and dropped. */
import type { QueryClient } from "@tanstack/react-query";
import { navigate } from "../lib/route";
import { ApiError, post, remove } from "./client";
import { unfollow } from "./live";
import type { Session } from "./types";

let linkFailure: string | null = null;

export async function signIn(queries: QueryClient, token: string): Promise<Session> {
  const session = await post<Session>("/session", { token });
  queries.clear();
  queries.setQueryData(["session"], session);
  return session;
}

export async function redeem(queries: QueryClient, code: string): Promise<Session> {
  const session = await post<Session>("/setup", { code });
  queries.clear();
  queries.setQueryData(["session"], { ...session, token: null });
  return session;
}

/** Ends the session; `leave` goes to a page without requests. */
export async function signOut(queries: QueryClient, leave: () => void): Promise<void> {
  await remove("/session");
  unfollow();
  leave();
  queries.clear();
}

/** Goes to the sign-in page, which leads back to where the session ended. */
export function askToSignIn(): void {
  const { pathname, search } = window.location;
  if (pathname === "/login" || pathname === "/setup") return;
  unfollow();
  const back = pathname + search;
  navigate("/login" + (back === "/" ? "" : `?next=${encodeURIComponent(back)}`), { replace: true });
}

/** Why a token could not be exchanged, in words. */
export function signInFailure(error: unknown): string {
  if (error instanceof ApiError && error.status === 401) return "The server does not know this token.";
  if (error instanceof ApiError) return `Not signed in: ${error.message}.`;
  return "Not signed in.";
}

/** Takes `#token=…` out of the address and signs in with it. */
export async function exchangeFragmentToken(queries: QueryClient): Promise<void> {
  const token = new URLSearchParams(window.location.hash.slice(1)).get("token");
  if (!token) return;
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  try {
    await signIn(queries, token);
  } catch (error) {
    linkFailure = signInFailure(error);
    window.history.replaceState(null, "", "/login");
  }
}

/** Why the link that opened the page did not sign in; shown once. */
export function takeLinkFailure(): string | null {
  const failure = linkFailure;
  linkFailure = null;
  return failure;
}
