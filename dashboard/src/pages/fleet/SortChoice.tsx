/** Chooses the order where there are no column heads. */
import { ArrowDownUp } from "lucide-react";
import { ORDERS, type Sort } from "./list";
import styles from "./SortChoice.module.css";

export function SortChoice({ sort, onSort }: { sort: Sort; onSort: (sort: Sort) => void }) {
  const chosen = ORDERS.findIndex((order) => order.sort.by === sort.by && order.sort.isDown === sort.isDown);
  return (
    <label className={styles.sort}>
      <ArrowDownUp size={16} aria-hidden />
      <span className="visually-hidden">Order</span>
      <select value={chosen} onChange={(event) => onSort(ORDERS[Number(event.target.value)]!.sort)}>
        {chosen < 0 && <option value={-1}>Other order</option>}
        {ORDERS.map(({ label }, place) => (
          <option key={label} value={place}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}
