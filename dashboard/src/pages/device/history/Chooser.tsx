/** Chooses what is drawn: a quantity as a whole, or single points. */
import { ChevronDown, SlidersHorizontal } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import type { PointValue } from "../../../api/types";
import { Button } from "../../../components/Button";
import { colourOf, type Look } from "../../../components/chart/looks";
import { Dialog } from "../../../components/Dialog";
import { inOrder, isDrawn, QUANTITIES, QUANTITY_NAMES, pointName, quantityOf, type Quantity } from "../../../lib/points";
import styles from "./Chooser.module.css";

interface Props {
  points: PointValue[];
  chosen: string[];
  looks: Map<string, Look>;
  onChoose: (points: string[]) => void;
}

function groupsOf(points: PointValue[]): { quantity: Quantity; members: PointValue[] }[] {
  return QUANTITIES.map((quantity) => ({
    quantity,
    members: inOrder(points).filter((point) => isDrawn(point) && quantityOf(point.unit) === quantity),
  })).filter(({ members }) => members.length > 0);
}

/** The choice with some points added or removed, in the order of the profile. */
function changed({ points, chosen }: Props, names: string[], isOn: boolean): string[] {
  const wanted = new Set(chosen);
  for (const name of names) {
    if (isOn) wanted.add(name);
    else wanted.delete(name);
  }
  return points.map(({ point }) => point).filter((point) => wanted.has(point));
}

export function Quantities(props: Props) {
  const { points, chosen, onChoose } = props;
  return (
    <div className={styles.quantities} role="group" aria-label="What is shown">
      {groupsOf(points).map(({ quantity, members }) => (
        <QuantityChip
          key={quantity}
          quantity={quantity}
          isOn={members.some(({ point }) => chosen.includes(point))}
          onToggle={(isOn) =>
            onChoose(
              changed(
                props,
                members.map(({ point }) => point),
                isOn,
              ),
            )
          }
        />
      ))}
    </div>
  );
}

export function PointMenu(props: Props) {
  const { points, chosen } = props;
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const press = (event: PointerEvent) => {
      const element = details.current;
      if (element?.open && !element.contains(event.target as Node)) element.open = false;
    };
    window.addEventListener("pointerdown", press);
    return () => window.removeEventListener("pointerdown", press);
  }, []);
  return (
    <details
      ref={details}
      className={styles.points}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !details.current?.open) return;
        event.preventDefault();
        details.current.open = false;
      }}
    >
      <summary>
        {chosen.length} of {points.filter(isDrawn).length} points
        <ChevronDown size={16} aria-hidden />
      </summary>
      <div className={styles.list}>
        <Points {...props} />
      </div>
    </details>
  );
}

function Points(props: Props) {
  const { points, chosen, looks, onChoose } = props;
  return groupsOf(points).map(({ quantity, members }) => (
    <fieldset key={quantity}>
      <legend>{QUANTITY_NAMES[quantity]}</legend>
      {members.map(({ point }) => (
        <label key={point} title={point}>
          <input
            type="checkbox"
            checked={chosen.includes(point)}
            onChange={(event) => onChoose(changed(props, [point], event.target.checked))}
          />
          <svg width="16" height="8" aria-hidden="true" style={{ color: looks.get(point)?.colour }}>
            <line x1="0" x2="16" y1="4" y2="4" strokeDasharray={looks.get(point)?.dash.join(" ")} />
          </svg>
          {pointName(point)}
        </label>
      ))}
    </fieldset>
  ));
}

/** Quantities and points in one sheet, for phones. */
export function DrawnSheet(props: Props) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button
        type="button"
        className={styles.opener}
        aria-label="Choose what is shown"
        title="Choose what is shown"
        onClick={() => setOpen(true)}
      >
        <SlidersHorizontal size={18} aria-hidden />
      </button>
      <Dialog title="What is shown" isOpen={isOpen} onClose={() => setOpen(false)}>
        <Quantities {...props} />
        <div className={styles.sheet}>
          <Points {...props} />
        </div>
        <Button look="main" onClick={() => setOpen(false)}>
          Show
        </Button>
      </Dialog>
    </>
  );
}

interface ChipProps {
  quantity: Quantity;
  isOn: boolean;
  onToggle: (isOn: boolean) => void;
}

function QuantityChip({ quantity, isOn, onToggle }: ChipProps) {
  return (
    <button type="button" aria-pressed={isOn} onClick={() => onToggle(!isOn)}>
      <span className={styles.dot} style={{ color: colourOf(quantity) }} aria-hidden="true" />
      {QUANTITY_NAMES[quantity]}
    </button>
  );
}
