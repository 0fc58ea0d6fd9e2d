/** Streams of events in the state that a case wants; none brings an event. */

export type StreamState = "connecting" | "live" | "down";

/** The class in place of the browser's `EventSource`. */
export function streamIn(state: StreamState): typeof EventSource {
  class Stream extends EventTarget {
    onopen: (() => void) | null = null;
    onerror: (() => void) | null = null;

    constructor() {
      super();
      if (state === "live") queueMicrotask(() => this.onopen?.());
      if (state === "down") queueMicrotask(() => this.onerror?.());
    }

    close(): void {}
  }
  return Stream as unknown as typeof EventSource;
}
