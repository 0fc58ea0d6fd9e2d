/** An address without a page. */
import { useEffect } from "react";
import { Link } from "../components/Link";
import styles from "./MissingPage.module.css";

export function MissingPage({ what = "There is no page at this address." }: { what?: string }) {
  useEffect(() => {
    document.title = "Not found – EcoWatt";
  }, []);
  return (
    <section className={styles.missing}>
      <h1>Not found</h1>
      <p>{what}</p>
      <Link to="/">Go to the fleet</Link>
    </section>
  );
}
