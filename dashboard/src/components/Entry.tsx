/** Frame of the sign-in and set-up pages. */
import type { ReactNode } from "react";
import { ThemeSwitch } from "./Header";
import { Logo } from "./Logo";
import styles from "./Entry.module.css";

export function Entry({ title, children }: { title: string; children: ReactNode }) {
  return (
    <main className={styles.entry}>
      <div className={styles.card}>
        <div className={styles.brand}>
          <Logo size={32} />
          <span>EcoWatt</span>
          <ThemeSwitch />
        </div>
        <h1>{title}</h1>
        {children}
      </div>
    </main>
  );
}
