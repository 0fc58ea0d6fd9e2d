/** One chart over time: all columns of one unit. */
import "uplot/dist/uPlot.min.css";
import "./uplot.css";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { unitText } from "../../lib/format";
import { pointName } from "../../lib/points";
import type { Cell, Column, Stretch } from "../../lib/series";
import { useIsDark } from "../../lib/theme";
import { amountMarks, heights, markWords } from "./axis";
import { gapFill } from "./gap";
import { faded, resolved, type Look } from "./looks";
import { followFingers } from "./touch";
import styles from "./TimeChart.module.css";

export interface TimeChartProps {
  /** Charts of one group share their cursor. */
  group: string;
  t: number[];
  columns: Column[];
  gaps: Stretch[];
  looks: Map<string, Look>;
  range: Stretch;
  zone: string;
  width: number;
  height: number;
  isLast: boolean;
  onHover: (row: number | null) => void;
  onPinch: (stretch: Stretch) => void;
  onZoom: (stretch: Stretch) => void;
  onZoomOut: () => void;
}

/** Width of the numbers at the left, the same on every chart so that they are aligned. */
const AXIS_WIDTH = 56;
const FONT = "12px system-ui, sans-serif";
/** A press that moves less is a click. */
const DRAG_MIN_PX = 6;

function dataOf(t: number[], columns: Column[]): uPlot.AlignedData {
  const cells: Cell[][] = columns.flatMap((column) =>
    column.band ? [column.value, column.band.max, column.band.min] : [column.value],
  );
  return [t, ...cells] as uPlot.AlignedData;
}

function markGaps(chart: uPlot, gaps: Stretch[]): void {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = gapFill(ctx);
  for (const { from, to } of gaps) {
    const left = chart.valToPos(from, "x", true);
    const right = chart.valToPos(to, "x", true);
    if (right < bbox.left || left > bbox.left + bbox.width) continue;
    ctx.fillRect(left, bbox.top, Math.max(1, right - left), bbox.height);
  }
  ctx.restore();
}

export function TimeChart(props: TimeChartProps) {
  const holder = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const latest = useRef(props);
  const isDark = useIsDark();
  latest.current = props;

  const unit = props.columns[0]?.unit ?? "";
  const structure = props.columns.map(({ point, band }) => `${point}:${band ? "band" : "raw"}`).join(",");

  useEffect(() => {
    const element = holder.current;
    if (!element) return;
    const { columns, t, looks, group, width, height, isLast } = latest.current;
    const series: uPlot.Series[] = [{}];
    const bands: uPlot.Band[] = [];
    for (const column of columns) {
      const look = looks.get(column.point);
      const colour = look?.colour ?? "var(--other)";
      series.push({
        label: pointName(column.point),
        stroke: resolved(colour),
        width: 1.5,
        dash: look?.dash,
        points: { show: false },
      });
      if (column.band) {
        const top = series.length;
        series.push({ stroke: "transparent", width: 0, points: { show: false } });
        series.push({ stroke: "transparent", width: 0, points: { show: false } });
        bands.push({ series: [top, top + 1], fill: faded(colour, 18) });
      }
    }
    const made = new uPlot(
      {
        width: Math.max(160, width),
        height,
        ms: 1,
        padding: [8, 24, isLast ? 0 : 8, 0],
        tzDate: (ms) => uPlot.tzDate(new Date(ms), latest.current.zone),
        legend: { show: false },
        series,
        bands,
        scales: {
          x: {
            time: true,
            range: () => [latest.current.range.from, latest.current.range.to],
          },
          y: { range: (_chart, low, high) => heights(unit, low, high) },
        },
        axes: [
          {
            size: isLast ? 32 : 0,
            font: FONT,
            stroke: resolved("var(--quiet)"),
            grid: { stroke: resolved("var(--line)"), width: 1 },
            ticks: { show: false },
            space: 64,
            values: (_chart, marks, _axis, _space, step) =>
              isLast ? markWords(marks, step, latest.current.zone) : [],
          },
          {
            size: AXIS_WIDTH,
            font: FONT,
            stroke: resolved("var(--quiet)"),
            grid: { stroke: resolved("var(--line)"), width: 1 },
            ticks: { show: false },
            space: 36,
            values: (_chart, marks, _axis, _space, step) =>
              amountMarks(marks, step, unit),
          },
        ],
        cursor: {
          y: false,
          points: { size: 7, width: 2 },
          drag: { x: true, y: false, setScale: false, dist: DRAG_MIN_PX },
          sync: {
            key: group,
            // A drag on one chart is not repeated on the others.
            filters: { pub: (type) => type === "mousemove" || type === "mouseleave" },
          },
          bind: {
            dblclick: () => () => {
              latest.current.onZoomOut();
              return null;
            },
          },
        },
        hooks: {
          drawClear: [(drawn) => markGaps(drawn, latest.current.gaps)],
          setCursor: [(drawn) => latest.current.onHover(drawn.cursor.idx ?? null)],
          setSelect: [
            (drawn) => {
              const { left, width: selected } = drawn.select;
              if (selected < DRAG_MIN_PX) return;
              const from = drawn.posToVal(left, "x");
              const to = drawn.posToVal(left + selected, "x");
              drawn.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              latest.current.onZoom({ from, to });
            },
          ],
        },
      },
      dataOf(t, columns),
      element,
    );
    chart.current = made;
    const letGo = followFingers(made, {
      onMove: (stretch) => latest.current.onPinch(stretch),
      onEnd: (stretch) => latest.current.onZoom(stretch),
    });
    return () => {
      letGo();
      made.destroy();
      chart.current = null;
    };
    // The looks follow from the points; sizes and data have effects of their own.
  }, [structure, unit, isDark, props.isLast, props.group]);

  useEffect(() => {
    chart.current?.setData(dataOf(props.t, props.columns));
  }, [props.t, props.columns]);

  useEffect(() => {
    chart.current?.redraw(false);
  }, [props.gaps]);

  useEffect(() => {
    chart.current?.setScale("x", { min: props.range.from, max: props.range.to });
  }, [props.range.from, props.range.to]);

  useEffect(() => {
    chart.current?.setSize({ width: Math.max(160, props.width), height: props.height });
  }, [props.width, props.height]);

  const names = props.columns.map(({ point }) => pointName(point)).join(", ");
  return (
    <div
      ref={holder}
      className={styles.chart}
      data-testid="plot"
      data-gaps={props.gaps.map(({ from, to }) => `${from}-${to}`).join(" ")}
      role="img"
      aria-label={`Chart of ${names}${unit ? ` in ${unitText(unit)}` : ""}. The legend holds the latest values.`}
    />
  );
}
