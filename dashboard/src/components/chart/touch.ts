/**
 * Fingers on a chart: one moves the cursor, two pinch and drag the range. Scrolling the page with
 * one finger stays as it is (`touch-action: pan-y` in the style sheet).
 */
import type uPlot from "uplot";
import type { Stretch } from "../../lib/series";

interface Pinch {
  /** Instants under the two fingers when they came down. */
  held: [number, number];
  width: number;
}

/** The range in which `held` lies under fingers at `x1` and `x2` of `width` pixels. */
export function pinched([a, b]: [number, number], x1: number, x2: number, width: number): Stretch | null {
  if (Math.abs(x2 - x1) < 8) return null;
  const perPixel = (b - a) / (x2 - x1);
  if (!(perPixel > 0)) return null;
  const from = a - x1 * perPixel;
  return { from, to: from + width * perPixel };
}

export function followFingers(
  chart: uPlot,
  actions: { onMove: (stretch: Stretch) => void; onEnd: (stretch: Stretch) => void },
): () => void {
  const over = chart.over;
  const fingers = new Map<number, { x: number; y: number }>();
  let pinch: Pinch | null = null;
  let stretch: Stretch | null = null;

  const place = (event: PointerEvent) => {
    const box = over.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const inOrder = () => [...fingers.values()].toSorted((a, b) => a.x - b.x);

  const down = (event: PointerEvent) => {
    if (event.pointerType !== "touch") return;
    fingers.set(event.pointerId, place(event));
    if (fingers.size !== 2) return;
    const [left, right] = inOrder();
    if (!left || !right) return;
    pinch = {
      held: [chart.posToVal(left.x, "x"), chart.posToVal(right.x, "x")],
      width: over.clientWidth,
    };
  };
  const move = (event: PointerEvent) => {
    if (!fingers.has(event.pointerId)) return;
    const at = place(event);
    fingers.set(event.pointerId, at);
    if (pinch && fingers.size === 2) {
      const [left, right] = inOrder();
      stretch = left && right ? pinched(pinch.held, left.x, right.x, pinch.width) : null;
      if (stretch) actions.onMove(stretch);
    } else if (fingers.size === 1) {
      chart.setCursor({ left: at.x, top: at.y });
    }
  };
  const up = (event: PointerEvent) => {
    if (!fingers.delete(event.pointerId)) return;
    if (pinch && fingers.size < 2) {
      pinch = null;
      if (stretch) actions.onEnd(stretch);
      stretch = null;
    }
  };

  over.addEventListener("pointerdown", down);
  over.addEventListener("pointermove", move);
  over.addEventListener("pointerup", up);
  over.addEventListener("pointercancel", up);
  return () => {
    over.removeEventListener("pointerdown", down);
    over.removeEventListener("pointermove", move);
    over.removeEventListener("pointerup", up);
    over.removeEventListener("pointercancel", up);
  };
}
