/** The size of the screen and of elements on it. */
import { useEffect, useRef, useState, useSyncExternalStore } from "react";

export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (listener) => {
      const list = window.matchMedia(query);
      list.addEventListener("change", listener);
      return () => list.removeEventListener("change", listener);
    },
    () => window.matchMedia(query).matches,
  );
}

/** A phone held upright, or another screen as narrow. */
export function useIsNarrow(): boolean {
  return useMedia("(max-width: 767px)");
}

/** Too narrow for the table of devices: a tablet held upright, too. */
export function useIsTooNarrowForTables(): boolean {
  return useMedia("(max-width: 1079px)");
}

/** A phone held sideways: next to no height. */
export function useIsLow(): boolean {
  return useMedia("(max-height: 479px)");
}

/** A phone, however it is held. */
export function useIsSmall(): boolean {
  return useMedia("(max-width: 767px), (max-height: 479px)");
}

/** An element's inner width in pixels, 0 until it is known. */
export function useWidth<E extends HTMLElement>() {
  const ref = useRef<E>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setWidth(Math.floor(entry.contentRect.width));
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width] as const;
}
