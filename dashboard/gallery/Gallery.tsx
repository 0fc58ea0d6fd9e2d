/** The list of parts, the cases of a part, or one case. */
import { useEffect } from "react";
import app from "../src/App.module.css";
import { ThemeSwitch } from "../src/components/Header";
import { countText } from "../src/lib/format";
import styles from "./Gallery.module.css";
import { addressOf, type Case, type Part } from "./part";
import { PARTS } from "./parts";

export function Gallery({ part, chosen }: { part: Part | undefined; chosen: Case | undefined }) {
  useEffect(() => {
    if (part) document.title = `${part.name}${chosen ? `, ${chosen.name}` : ""} – Gallery – EcoWatt`;
  }, [part, chosen]);
  if (!part) return <Contents />;
  if (part.layout === "page" && chosen) return chosen.show;
  if (part.layout === "panel" && chosen) return <main className={app.main}>{chosen.show}</main>;
  return (
    <main className={app.main}>
      <Head title={part.name} />
      {part.layout === "list" ? (
        part.cases.map((one) => (
          <section key={one.name} className={styles.case}>
            <h2>{one.name}</h2>
            <div className={styles.frame}>{one.show}</div>
          </section>
        ))
      ) : (
        <CaseLinks part={part} />
      )}
    </main>
  );
}

function Head({ title }: { title: string }) {
  return (
    <div className={styles.head}>
      <h1>{title}</h1>
      <a href="./">All parts</a>
      <ThemeSwitch />
    </div>
  );
}

function CaseLinks({ part }: { part: Part }) {
  return (
    <ul className={styles.links}>
      {part.cases.map((one) => (
        <li key={one.name}>
          <a href={addressOf(part, one)}>{one.name}</a>
        </li>
      ))}
    </ul>
  );
}

function Contents() {
  const count = PARTS.reduce((sum, { cases }) => sum + cases.length, 0);
  return (
    <main className={app.main}>
      <Head title="Gallery" />
      <p>
        {countText(PARTS.length, "part")} of the dashboard in {countText(count, "state")}.
      </p>
      {PARTS.map((part) => (
        <section key={part.name} className={styles.case}>
          <h2>{part.name}</h2>
          {part.layout === "list" ? (
            <a href={addressOf(part)}>{countText(part.cases.length, "state")} on one page</a>
          ) : (
            <CaseLinks part={part} />
          )}
        </section>
      ))}
    </main>
  );
}
