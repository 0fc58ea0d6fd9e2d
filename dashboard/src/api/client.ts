/**
 * Requests to the operator API. The session is a cookie that scripts cannot read, so nothing here
 * holds a secret.
 */
import type { ErrorAnswer } from "./types";

const BASE = "/api/v1";
const TIMEOUT_MS = 20_000;

/** An answer that is not a success, or no answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId: string | null,
  ) {
    super(message);
  }
}

type Query = Record<string, string | number | undefined>;

function address(path: string, query?: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) search.set(name, String(value));
  }
  const text = search.toString();
  return BASE + path + (text ? `?${text}` : "");
}

async function failure(answer: Response): Promise<ApiError> {
  try {
    const { error } = (await answer.json()) as ErrorAnswer;
    return new ApiError(answer.status, error.code, error.message, error.request_id);
  } catch {
    const message = `the server answered with status ${answer.status}`;
    return new ApiError(answer.status, "unreadable", message, null);
  }
}

async function send<T>(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let answer: Response;
  try {
    answer = await fetch(url, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    const message = timeout.aborted ? "the server took too long to answer" : "the server cannot be reached";
    throw new ApiError(0, "unreachable", message, null);
  }
  if (!answer.ok) throw await failure(answer);
  if (answer.status === 204) return undefined as T;
  return (await answer.json()) as T;
}

export function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return send<T>("GET", address(path, query), undefined, signal);
}

export function post<T>(path: string, body: unknown, query?: Query): Promise<T> {
  return send<T>("POST", address(path, query), body);
}

export function put<T>(path: string, body: unknown): Promise<T> {
  return send<T>("PUT", address(path), body);
}

export function patch<T>(path: string, body: unknown): Promise<T> {
  return send<T>("PATCH", address(path), body);
}

export function remove(path: string): Promise<void> {
  return send<void>("DELETE", address(path));
}
