/** Chooses the range: by name, by step, by hand. */
import { CalendarRange, ChevronLeft, ChevronRight, Undo2 } from "lucide-react";
import { useId, useRef, useState, type FormEvent, type ReactNode } from "react";
import { Button, Choices } from "../../../components/Button";
import { RANGES, stepped, type Range } from "../../../lib/ranges";
import { dateText, inputText, isoDate, minuteText, parseInput, startOfDay, timeText } from "../../../lib/zone";
import { writeInstant } from "./choices";
import styles from "./RangeBar.module.css";

interface Props {
  range: Range;
  zone: string;
  isZoomed: boolean;
  onChange: (changes: Record<string, string | null>) => void;
  onZoomOut: () => void;
}

const MINUTES_ENOUGH_MS = 10 * 60_000;

/** `Sat 14 Jun 2025, 06:00 to 08:15`, or whole days. */
function rangeText({ from, to }: Range, zone: string): string {
  const last = to - 1;
  const isWhole = startOfDay(from, zone) === from && startOfDay(to, zone) === to;
  const isOneDay = isoDate(from, zone) === isoDate(last, zone);
  if (isWhole) return isOneDay ? dateText(from, zone) : `${dateText(from, zone)} to ${dateText(last, zone)}`;
  const time = to - from < MINUTES_ENOUGH_MS ? timeText : minuteText;
  if (isOneDay) return `${dateText(from, zone)}, ${time(from, zone)} to ${time(to, zone)}`;
  return `${dateText(from, zone)} ${time(from, zone)} to ${dateText(to, zone)} ${time(to, zone)}`;
}

export function RangeBar({ range, zone, isZoomed, onChange }: Omit<Props, "onZoomOut">) {
  return (
    <div className={styles.row}>
      <Choices
        label="Range"
        choices={RANGES.map(({ name, label, title }) => ({ value: name, label, title }))}
        chosen={range.name === "custom" ? null : range.name}
        onChoose={(name) => onChange({ range: name === "today" ? null : name, from: null, to: null })}
      />
      <Custom key={`${isZoomed}`} range={range} zone={zone} isChosen={isZoomed} onChange={onChange} />
    </div>
  );
}

/** Shows the range, with steps to its neighbours. */
export function RangeSteps(props: Props & { present: number; children?: ReactNode }) {
  const { range, zone, present, isZoomed, onChange, onZoomOut, children } = props;
  const step = (direction: -1 | 1) => {
    const next = stepped(range, direction, present, zone);
    if (next) onChange({ from: writeInstant(next.from), to: writeInstant(next.to) });
  };
  const isLast = stepped(range, 1, present, zone) === null;
  return (
    <div className={styles.row}>
      <p className={styles.text} data-testid="range" data-from={range.from} data-to={range.to}>
        <button type="button" aria-label="Earlier" title="Earlier" onClick={() => step(-1)}>
          <ChevronLeft size={18} aria-hidden />
        </button>
        <button
          type="button"
          aria-label="Later"
          title={isLast ? "This range is the latest" : "Later"}
          disabled={isLast}
          onClick={() => step(1)}
        >
          <ChevronRight size={18} aria-hidden />
        </button>
        <span title={zone}>{rangeText(range, zone)}</span>
      </p>
      {isZoomed && (
        <button type="button" className={styles.reset} onClick={onZoomOut}>
          <Undo2 size={14} aria-hidden />
          Reset
        </button>
      )}
      {children && <span className={styles.end}>{children}</span>}
    </div>
  );
}

interface CustomProps {
  range: Range;
  zone: string;
  isChosen: boolean;
  onChange: Props["onChange"];
}

function Custom({ range, zone, isChosen, onChange }: CustomProps) {
  const id = useId();
  const details = useRef<HTMLDetailsElement>(null);
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const start = parseInput(from, zone);
  const end = parseInput(to, zone);
  const isValid = start !== null && end !== null && start < end;
  const close = () => {
    if (details.current) details.current.open = false;
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!isValid) return;
    onChange({ range: "custom", from: writeInstant(start), to: writeInstant(end) });
    close();
  };
  return (
    <details
      ref={details}
      className={styles.custom}
      onToggle={(event) => {
        if (!event.currentTarget.open) return;
        setFrom(inputText(range.from, zone));
        setTo(inputText(range.to, zone));
      }}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        close();
      }}
    >
      <summary data-chosen={isChosen || undefined} title="Choose start and end">
        <CalendarRange size={16} aria-hidden />
        <span>Custom</span>
      </summary>
      <form onSubmit={submit} className={styles.form}>
        <label htmlFor={`${id}-from`}>From</label>
        <input
          id={`${id}-from`}
          type="datetime-local"
          value={from}
          onChange={(event) => setFrom(event.target.value)}
        />
        <label htmlFor={`${id}-to`}>To</label>
        <input
          id={`${id}-to`}
          type="datetime-local"
          value={to}
          onChange={(event) => setTo(event.target.value)}
        />
        <p className={styles.zone}>
          {isValid ? `Times of ${zone}.` : "The end must be after the beginning."}
        </p>
        <Button type="submit" look="main" disabled={!isValid}>
          Show
        </Button>
      </form>
    </details>
  );
}
